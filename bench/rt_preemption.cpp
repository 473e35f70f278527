// SPDX-License-Identifier: MIT
// What does a real-time thread see that preempts the thread which is under the domain's lock? On one processor: the holder, an
// ordinary thread, is inside when a SCHED_FIFO thread wakes and wants the lock. Prints a table of locks against what else wants
// the processor: how long until the real-time thread had the lock (median, worst), and how much of that it was running (median).
//
//     dmasync_rt_preemption [ROUNDS]
//
// Nothing waits for more than some tenths of a second: a lock that spins gives up. Exit status 77: real-time threads are refused here.
#include "lock_schemes.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include <pthread.h>
#include <sched.h>
#include <time.h>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using nanoseconds = std::chrono::nanoseconds;

constexpr int skipped = 77;
constexpr int waiter_priority = 20;
constexpr int rival_priority = 10;
constexpr auto rest_of_section = 1us;    // that the holder has before it when it is preempted
constexpr auto rival_works_for = 10ms;   // the real-time thread of lower priority
constexpr auto spinner_patience = 100ms; // after which a lock that spins for ever gives up
constexpr auto round_limit = 5s;
constexpr int warm_up = 1;
constexpr int uses_before = 5000; // by the holder, before each round: a lock may get used to its user

enum class company { none, ordinary, real_time };

int processor() {
    cpu_set_t all;
    ::sched_getaffinity(0, sizeof all, &all);
    int last = 0;
    for (int i = 0; i < CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &all)) { last = i; }
    }
    return last;
}

/// Has the calling thread run there; with a priority, before all that have less.
/// Returns: 0, or an errno.
int run_on(int cpu, int priority) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(static_cast<unsigned>(cpu), &only);
    if (const int e = ::pthread_setaffinity_np(::pthread_self(), sizeof only, &only); e != 0) { return e; }
    const sched_param p{.sched_priority = priority};
    return ::pthread_setschedparam(::pthread_self(), priority > 0 ? SCHED_FIFO : SCHED_OTHER, &p);
}

void must_run_on(int cpu, int priority) {
    if (const int e = run_on(cpu, priority); e != 0) {
        std::fprintf(stderr, "rt_preemption: %s\n", std::strerror(e));
        std::_Exit(1);
    }
}

nanoseconds own_cpu_time() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds{t.tv_sec} + nanoseconds{t.tv_nsec};
}

void work_for(nanoseconds time) {
    for (const auto end = clock_type::now() + time; clock_type::now() < end;) {}
}

struct wait_of_one_round {
    nanoseconds took{};
    nanoseconds running{};
    bool gave_up = false;
};

/// One lock, one holder, one real-time thread that wants it, and perhaps a third that wants the processor.
template <class Lock>
class contest {
public:
    explicit contest(company third) : third_{third}, cpu_{processor()} {}

    std::vector<wait_of_one_round> run(int rounds) {
        std::jthread holder{[this](const std::stop_token& stop) { hold(stop); }};
        std::jthread waiter{[this](const std::stop_token& stop) { want(stop); }};
        std::jthread third{[this](const std::stop_token& stop) { be_in_the_way(stop); }};
        std::vector<wait_of_one_round> all;
        for (int i = 0; i < warm_up + rounds; ++i) {
            std::this_thread::sleep_for(2ms); // so that real-time threads do not use up what the kernel allows them
            lock_.emplace();
            holder_may_.release();
            const bool in_time = waiter_done_.try_acquire_for(round_limit) && holder_done_.try_acquire_for(round_limit);
            if (!in_time) {
                std::fprintf(stderr, "rt_preemption: a round does not end\n");
                std::_Exit(1);
            }
            if (i >= warm_up) { all.push_back(outcome_); }
        }
        for (std::jthread* t : {&holder, &waiter, &third}) { t->request_stop(); }
        holder_may_.release();
        rival_may_.release();
        return all;
    }

private:
    void hold(const std::stop_token& stop) {
        must_run_on(cpu_, 0);
        while (true) {
            holder_may_.acquire();
            if (stop.stop_requested()) { return; }
            for (int i = 0; i < uses_before; ++i) { const std::lock_guard used{*lock_}; }
            lock_->lock();
            is_inside_ = true;
            for (const auto end = clock_type::now() + round_limit / 4; !is_wanted_ && clock_type::now() < end;) {}
            work_for(rest_of_section);
            lock_->unlock();
            holder_done_.release();
        }
    }

    void want(const std::stop_token& stop) {
        must_run_on(cpu_, waiter_priority);
        while (!stop.stop_requested()) {
            std::this_thread::sleep_for(300us); // a timer ends this, whatever runs then
            if (!is_inside_.exchange(false)) { continue; }
            is_wanted_ = true;
            if (third_ == company::real_time) { rival_may_.release(); } // runs as soon as this thread does not
            const auto from = clock_type::now();
            const nanoseconds ran = own_cpu_time();
            const bool got = acquire();
            outcome_ = {clock_type::now() - from, own_cpu_time() - ran, !got};
            if (got) { lock_->unlock(); }
            is_wanted_ = false;
            waiter_done_.release();
        }
    }

    [[nodiscard]] bool acquire() {
        if constexpr (std::is_same_v<Lock, schemes::plain_store_spin>) {
            for (const auto end = clock_type::now() + spinner_patience; clock_type::now() < end;) {
                if (lock_->try_lock()) { return true; }
            }
            return false;
        } else {
            lock_->lock();
            return true;
        }
    }

    void be_in_the_way(const std::stop_token& stop) {
        must_run_on(cpu_, third_ == company::real_time ? rival_priority : 0);
        while (third_ == company::ordinary && !stop.stop_requested()) {}
        while (third_ == company::real_time && !stop.stop_requested()) {
            rival_may_.acquire();
            work_for(rival_works_for);
        }
    }

    const company third_;
    const int cpu_;
    std::optional<Lock> lock_; // a new one for each round
    std::atomic<bool> is_inside_{false};
    std::atomic<bool> is_wanted_{false};
    wait_of_one_round outcome_; // the waiter's, until it says that it is done
    std::counting_semaphore<> holder_may_{0};
    std::counting_semaphore<> holder_done_{0};
    std::counting_semaphore<> waiter_done_{0};
    std::counting_semaphore<> rival_may_{0};
};

std::string readable(nanoseconds t) {
    std::array<char, 32> text{};
    const double us = static_cast<double>(t.count()) / 1e3;
    if (us < 1000) {
        std::snprintf(text.data(), text.size(), us < 10 ? "%.1f µs" : "%.0f µs", us);
    } else {
        std::snprintf(text.data(), text.size(), us < 10'000 ? "%.1f ms" : "%.0f ms", us / 1000);
    }
    return text.data();
}

template <class Lock>
std::string cell(company third, int rounds) {
    std::vector<wait_of_one_round> all = contest<Lock>{third}.run(rounds);
    const auto gave_up = std::count_if(all.begin(), all.end(), [](const auto& w) { return w.gave_up; });
    const std::size_t middle = all.size() / 2;
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.running < b.running; });
    const nanoseconds running = all[middle].running;
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.took < b.took; });
    if (gave_up * 2 > static_cast<std::ptrdiff_t>(all.size())) {
        return "never (gave up after " + readable(spinner_patience) + "), running";
    }
    return readable(all[middle].took) + ", " + readable(all.back().took) + "; " + readable(running);
}

template <class Lock>
void row(int rounds) {
    if (std::is_same_v<Lock, schemes::plain_store_spin>) { rounds = std::min(rounds, 3); }
    std::printf("| %s |", Lock::what);
    for (const company third : {company::none, company::ordinary, company::real_time}) {
        std::printf(" %s |", cell<Lock>(third, rounds).c_str());
        std::fflush(stdout);
    }
    std::printf("\n");
}

} // namespace

int main(int argc, char** argv) {
    int rounds = 1;
    if (argc == 2) { std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), rounds); }
    if (argc > 2 || rounds < 1) {
        std::fprintf(stderr, "usage: dmasync_rt_preemption [ROUNDS]\n");
        return 2;
    }
    int refused = 0;
    std::thread{[&refused] { refused = run_on(processor(), waiter_priority); }}.join();
    if (refused != 0) {
        std::printf("[skipped] real-time threads are refused here: %s\n", std::strerror(refused));
        return skipped;
    }
    std::printf("| the lock | no other thread | an ordinary thread | a real-time thread of lower priority, for %s |\n"
                "|---|---|---|---|\n",
                readable(rival_works_for).c_str());
    row<schemes::biased>(rounds);
    row<schemes::plain_store_back_off>(rounds);
    row<schemes::plain_store_spin>(rounds);
    row<schemes::exchange_futex>(rounds);
    row<schemes::pi_mutex>(rounds);
    row<schemes::std_mutex>(rounds);
}
