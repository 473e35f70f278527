// SPDX-License-Identifier: MIT
#include <sim/random.hpp>
#include <sim/report.hpp>
#include <sim/scheduler.hpp>

#include <array>
#include <cstddef>
#include <cstdlib>

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_WITH_ASAN 1
#endif
#endif
#if defined(SIM_WITH_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace sim {

std::int64_t points_to_preemption = INT64_MAX;
bool counts_as_one_thread = false;
watched_lock watched;

namespace {

constexpr std::size_t stack_size = 256U * 1024U;
constexpr std::uint64_t too_many_leaves = 400'000;

enum class condition : std::uint8_t { absent, ready, light_sleep, sound_sleep };

/// One virtual thread. Its context stays where it is between runs, at the end of its loop: none is made twice.
struct fiber {
    ucontext_t context{};
    void* stack = nullptr;
    jmp_buf place{};
    void* fake_stack = nullptr;
    bool begun = false;
    condition now = condition::absent;
    const void* slept_on = nullptr;
    void (*body)(int) = nullptr;
};

struct everything {
    std::array<fiber, max_threads> threads;
    fiber main;
    int running = -1;
    random_numbers random{0};
    std::uint32_t period = 1;
    std::uint64_t switches = 0;
    std::uint64_t leaves = 0;       // of the processor, to any thread
    unsigned looks_at_the_last = 0; // by the thread that spins
    bool abandoned = false;
};

everything& all() {
    static everything e;
    return e;
}

fiber& fiber_of(int number) { return number < 0 ? all().main : all().threads[static_cast<std::size_t>(number)]; }

void draw_preemption() {
    everything& e = all();
    constexpr std::int64_t never = INT64_MAX / 4; // and yet not undisturbed
    points_to_preemption = counts_as_one_thread ? never : 1 + e.random.below(2 * e.period);
}

#if defined(SIM_WITH_ASAN)

const void* main_bottom = nullptr; // of the stack that the first fiber was begun from
std::size_t main_size = 0;

void jump(fiber& from, fiber& to) {
    const bool to_main = &to == &all().main;
    __sanitizer_start_switch_fiber(&from.fake_stack, to_main ? main_bottom : to.stack,
                                   to_main ? main_size : stack_size);
    ::swapcontext(&from.context, &to.context);
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

#else

/// swapcontext asks the kernel for the signal mask each time; between contexts that exist a longjmp does as well.
void jump(fiber& from, fiber& to) {
    if (_setjmp(from.place) != 0) { return; }
    if (to.begun) { _longjmp(to.place, 1); }
    to.begun = true;
    ::setcontext(&to.context);
}

#endif

void switch_to(int number) {
    everything& e = all();
    if (number == e.running) { return; }
    fiber& from = fiber_of(e.running);
    e.running = number;
    ++e.switches;
    jump(from, fiber_of(number));
}

/// Any ready thread but one; the last one only if there is no other, or `equally`. -1 without any.
int choose_other(int but, bool equally = false) {
    everything& e = all();
    std::array<int, max_threads> ready{};
    std::uint32_t n = 0;
    for (int i = 0; i < (equally ? max_threads : max_threads - 1); ++i) {
        if (i != but && fiber_of(i).now == condition::ready) { ready[n++] = i; }
    }
    if (n != 0) { return ready[n == 1 ? 0 : e.random.below(n)]; }
    const int last = max_threads - 1;
    return but != last && fiber_of(last).now == condition::ready ? last : -1;
}

/// Now and then a sleep ends for no reason.
void disturb_sleepers() {
    everything& e = all();
    if (e.random.below(32) != 0) { return; }
    for (int i = 0; i < max_threads; ++i) {
        if (fiber_of(i).now == condition::light_sleep) { fiber_of(i).now = condition::ready; }
    }
}

void leave_processor(bool to_any = false) {
    everything& e = all();
    if (++e.leaves > too_many_leaves) {
        e.leaves = 0;
        violated(invariant::ends, "the run does not come to an end");
    }
    const bool can_go_on = fiber_of(e.running).now == condition::ready;
    int next = choose_other(e.running, to_any);
    if (next < 0 && !can_go_on) {
        wake_all_light_sleepers();
        next = fiber_of(e.running).now == condition::ready ? e.running : choose_other(e.running);
    }
    // The last thread ends the run: it is not for a look in between, but for a thread that spins until it does something.
    constexpr unsigned patience = 64;
    if (next == max_threads - 1 && can_go_on && !(to_any && ++e.looks_at_the_last % patience == 0)) {
        next = e.running;
    }
    if (next < 0) { next = can_go_on ? e.running : -1; }
    switch_to(next);
    draw_preemption();
}

void life_of_thread(int number) {
#if defined(SIM_WITH_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, main_size == 0 ? &main_bottom : nullptr,
                                    main_size == 0 ? &main_size : nullptr);
#endif
    draw_preemption();
    for (;;) { // a fiber that is used again draws as it leaves leave_processor: runs begin alike
        fiber& self = fiber_of(number);
        self.body(number);
        self.now = condition::absent;
        leave_processor();
    }
}

void make_context(fiber& f, int number) {
    f.stack = ::mmap(nullptr, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f.stack == MAP_FAILED) { std::abort(); }
    ::getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack;
    f.context.uc_stack.ss_size = stack_size;
    f.context.uc_link = nullptr;
    ::makecontext(&f.context, reinterpret_cast<void (*)()>(life_of_thread), 1, number);
}

} // namespace

void start_run(std::uint64_t seed, std::uint32_t period) {
    everything& e = all();
    e.random = random_numbers{seed};
    e.period = period;
    e.switches = 0;
    e.leaves = 0;
    e.looks_at_the_last = 0;
}

void spawn(int number, void (*body)(int)) {
    fiber& f = fiber_of(number);
    if (f.stack == nullptr) { make_context(f, number); }
    f.body = body;
    f.now = condition::ready;
}

bool run_threads() {
    everything& e = all();
    e.main.begun = true;
    for (;;) {
        const int next = choose_other(-1);
        if (next < 0) { break; }
        switch_to(next);
        if (e.abandoned) { return false; }
    }
    points_to_preemption = INT64_MAX;
    for (const fiber& f : e.threads) {
        if (f.now != condition::absent) {
            e.abandoned = true;
            return false;
        }
    }
    return true;
}

void abandon_run() {
    everything& e = all();
    points_to_preemption = INT64_MAX;
    e.abandoned = true;
    if (e.running < 0) { std::abort(); }
    switch_to(-1);
    std::abort();
}

int current_thread() noexcept { return all().running; }

void preempt() noexcept {
    if (all().running < 0) {
        points_to_preemption = INT64_MAX;
        return;
    }
    disturb_sleepers();
    leave_processor();
}

void yield() noexcept {
    if (points_to_preemption > INT64_MAX / 2 || all().running < 0) {
        violated(invariant::ends, "a wait that cannot end");
    }
    leave_processor();
}

bool others_can_run() noexcept { return choose_other(all().running, true) >= 0; }

void spin() noexcept {
    if (points_to_preemption > INT64_MAX / 2 || all().running < 0) {
        violated(invariant::ends, "a wait that cannot end");
    }
    leave_processor(true);
}

void sleep_on(const void* address) noexcept {
    fiber& f = fiber_of(all().running);
    f.slept_on = address;
    f.now = condition::light_sleep;
    leave_processor();
}

void sleep_soundly_on(const void* address) noexcept {
    fiber& f = fiber_of(all().running);
    f.slept_on = address;
    f.now = condition::sound_sleep;
    leave_processor();
}

void wake(const void* address) noexcept {
    for (fiber& f : all().threads) {
        const bool sleeps = f.now == condition::light_sleep || f.now == condition::sound_sleep;
        if (sleeps && f.slept_on == address) { f.now = condition::ready; }
    }
}

void wake_all_light_sleepers() noexcept {
    for (fiber& f : all().threads) {
        if (f.now == condition::light_sleep) { f.now = condition::ready; }
    }
}

std::uint64_t switches() noexcept { return all().switches; }

} // namespace sim
