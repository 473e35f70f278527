// SPDX-License-Identifier: MIT
#include "checker.hpp"

#include "fiber.hpp"
#include "watched_memory.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>
#include <string_view>
#include <utility>

namespace interleave {

namespace {

constexpr std::size_t max_locations = 160;
constexpr std::size_t max_steps = 4000; // of one execution: more is a loop that gets nowhere
constexpr std::uint32_t nothing = ~0U;

/// What the checker keeps is not the program's: it must not look like memory that the program shares, or has lost.
template <class T>
struct own_memory {
    using value_type = T;
    own_memory() noexcept = default;
    template <class U>
    own_memory(const own_memory<U>&) noexcept {} // NOLINT(google-explicit-constructor): as allocators are
    T* allocate(std::size_t n) { return static_cast<T*>(std::malloc(n * sizeof(T))); }
    void deallocate(T* p, std::size_t) noexcept { std::free(p); }
    bool operator==(const own_memory&) const noexcept = default;
};
template <class T>
using own_vector = std::vector<T, own_memory<T>>;

/// What a thread knows: up to where the others' past comes before its present, and for each location the oldest store
/// that it may still read.
struct view {
    clocks known{};
    std::array<std::uint16_t, max_locations> oldest{};

    void join(const view& other) noexcept {
        for (std::size_t i = 0; i < known.size(); ++i) { known[i] = std::max(known[i], other.known[i]); }
        for (std::size_t i = 0; i < oldest.size(); ++i) { oldest[i] = std::max(oldest[i], other.oldest[i]); }
    }
};

struct stored {
    word value;
    bool releases; // what acquires it learns `released`
    view released;
};

/// Steps that come before one, by thread: up to which of its steps.
using order = std::array<std::uint32_t, max_threads>;

void join(order& a, const order& b) noexcept {
    for (std::size_t i = 0; i < a.size(); ++i) { a[i] = std::max(a[i], b[i]); }
}

struct shared_state {
    own_vector<stored> stores; // in modification order
    std::size_t size = 0;
    bool dead = false;
    where made;
    unsigned maker = 0;
    std::uint16_t made_at = 0;
    clocks used{}; // by each thread, the last time
    // for the search:
    order before_write{}, before_read{};
    order last_write{}, last_read{}, last_lock{}; // steps of each thread
    bool locked = false;                          // by an attempt that blocks
};

enum class what : std::uint8_t { read, write, lock, pause, hear, asleep, join };

struct pending_step {
    what kind = what::read;
    std::uint32_t location = nothing;
    std::uint32_t seen = 0; // pause: nothing newer yet; lock: the value it waits for
};

struct thread_state {
    const std::function<void()>* body = nullptr;
    bool begun = false;
    bool done = false;
    bool woken = false;
    unsigned early_returns = 0;
    unsigned weak_failures = 0;
    pending_step next;
    std::uint32_t looked_at = nothing; // the location of the latest load
    std::uint32_t looked_index = 0;    // and which store that saw
    view sees;
    order before{};
};

/// A decision of the search: which thread does the next step, and which of the outcomes it has.
struct decision {
    unsigned thread = 0;
    unsigned choice = 0;
    unsigned choices = 1;
    unsigned enabled = 0; // sets of threads, as bits
    unsigned to_try = 0;
    unsigned tried = 0;
    unsigned asleep = 0; // would only repeat what has been seen
    unsigned cost = 0;   // preemptions and stale loads up to here
};

const char* name_of(std::memory_order o) noexcept {
    switch (o) {
    case std::memory_order_relaxed: return "relaxed";
    case std::memory_order_consume: return "consume";
    case std::memory_order_acquire: return "acquire";
    case std::memory_order_release: return "release";
    case std::memory_order_acq_rel: return "acq_rel";
    default: return "seq_cst";
    }
}

bool acquires(std::memory_order o) noexcept {
    return o == std::memory_order_acquire || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}
bool releases(std::memory_order o) noexcept {
    return o == std::memory_order_release || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}

class explorer;
explorer* running = nullptr;

class explorer {
public:
    explorer(const std::function<void()>& program, const settings& how) : program_{program}, how_{how} {
        if (how.replay != nullptr) { read_schedule(); }
        random_ = how.seed * 0x9E3779B97F4A7C15U + 1;
    }

    verdict run() {
        running = this;
        verdict v;
        do {
            switch (execute()) {
            case ending::complete:
                ++v.schedules;
                note_outcome(v);
                break;
            case ending::cut: ++v.cut; break;
            case ending::failed: ++v.schedules; break;
            }
        } while (failure_.empty() && how_.replay == nullptr && next_schedule(v));
        v.mutated = mutated_;
        v.failure = failure_;
        v.schedule = schedule();
        v.trace = trace_.str();
        running = nullptr;
        return v;
    }

    // ---- on fibers ---------------------------------------------------------------------------------------------------

    void run_threads(std::initializer_list<std::function<void()>> bodies) {
        const outside scope{*this};
        unsigned n = 1;
        for (const auto& b : bodies) {
            thread_state& t = threads_[n++];
            t.body = &b;
            t.sees = threads_[0].sees;
            t.sees.known[n - 1] = 1;
        }
        live_ = n;
        started_ = true;
        step({what::join, nothing, 0});
        for (unsigned i = 1; i < n; ++i) { threads_[0].sees.join(threads_[i].sees); }
        live_ = 1;
    }

    std::uint32_t add_location(word initial, std::size_t size, const where& made) {
        const outside scope{*this};
        if (locations_used_ == max_locations) { stop("the checker has no room for so many atomics"); }
        if (locations_used_ == locations_.size()) { locations_.emplace_back(); }
        shared_state& l = locations_[locations_used_];
        auto stores = std::move(l.stores);
        l = shared_state{};
        l.stores = std::move(stores);
        l.stores.clear();
        l.stores.push_back({initial, false, {}});
        l.size = size;
        l.made = made;
        l.maker = current_;
        l.made_at = now();
        return static_cast<std::uint32_t>(locations_used_++);
    }

    void remove_location(std::uint32_t id) {
        const outside scope{*this};
        shared_state& l = use(id, where::current());
        for (unsigned t = 0; t < max_threads; ++t) {
            if (l.used[t] > me().sees.known[t]) {
                stop("an atomic is destroyed while thread " + std::to_string(t) + " may still use it: made at " +
                     place(l.made));
            }
        }
        l.dead = true;
    }

    word load(std::uint32_t id, std::memory_order o, const where& at) {
        const outside scope{*this};
        o = mutate("load", o, at);
        step({what::read, id, 0});
        shared_state& l = use(id, at);
        const std::size_t index = choose_store(l, id);
        return finish_load(l, id, index, o, "load", at);
    }

    void store(std::uint32_t id, word value, std::memory_order o, const where& at) {
        const outside scope{*this};
        o = mutate("store", o, at);
        step({what::write, id, 0});
        shared_state& l = use(id, at);
        note([&](auto& s) { s << "store " << value << ' ' << name_of(o) << ' ' << place(at); });
        l.locked = false;
        push(l, id, value, o, nullptr);
        executed(id, true);
    }

    word modify(std::uint32_t id, update kind, word operand, std::memory_order o, const where& at) {
        constexpr std::array names{"exchange", "add", "subtract", "or", "and"};
        const char* name = names[static_cast<std::size_t>(kind)];
        const outside scope{*this};
        o = mutate(name, o, at);
        step({what::write, id, 0});
        shared_state& l = use(id, at);
        const word old = l.stores.back().value;
        const word mask = l.size == sizeof(word) ? ~word{0} : (word{1} << (8 * l.size)) - 1;
        word value = operand;
        switch (kind) {
        case update::exchange: break;
        case update::add: value = old + operand; break;
        case update::subtract: value = old - operand; break;
        case update::bit_or: value = old | operand; break;
        case update::bit_and: value = old & operand; break;
        }
        value &= mask;
        note([&](auto& s) { s << name << ' ' << old << " -> " << value << ' ' << name_of(o) << ' ' << place(at); });
        replace_latest(l, id, value, o);
        executed(id, true);
        return old;
    }

    bool compare_exchange(std::uint32_t id, word& expected, word desired, bool weak, std::memory_order success,
                          std::memory_order failure, const where& at) {
        const outside scope{*this};
        success = mutate("cas", success, at);
        failure = acquires(success) ? failure : std::memory_order_relaxed;
        // The pattern of a lock, which a thread that finds it taken tries again once it may be free.
        const bool locks = how_.locks_block && !weak && name_is_lock(at);
        step({locks ? what::lock : what::write, id, static_cast<std::uint32_t>(expected)});
        shared_state& l = use(id, at);
        const std::size_t latest = l.stores.size() - 1;
        const bool may_succeed = l.stores[latest].value == expected;
        // What it may see: the latest value; an older one, if that is another than expected; a weak one fails at will.
        own_vector<std::size_t> failures;
        for (std::size_t i = latest + 1; !locks && i-- > me().sees.oldest[id];) {
            if (l.stores[i].value != expected) { failures.push_back(i); }
        }
        const bool at_will = weak && may_succeed && me().weak_failures == 0;
        const std::size_t n = failures.size() + (may_succeed ? 1U : 0U) + (at_will ? 1U : 0U);
        std::size_t chosen = choose(n);
        if (may_succeed && chosen-- == 0) {
            note([&](auto& s) {
                s << "cas " << expected << " -> " << desired << ' ' << name_of(success) << ' ' << place(at);
            });
            replace_latest(l, id, desired, success);
            l.locked = locks;
            executed(id, true, locks);
            return true;
        }
        std::size_t index = latest;
        if (chosen < failures.size()) {
            index = failures[chosen];
        } else {
            ++me().weak_failures;
        }
        expected = finish_load(l, id, index, failure, "cas fails, sees", at);
        return false;
    }

    void pause(const where& at) {
        const outside scope{*this};
        thread_state& t = me();
        if (t.looked_at == nothing) { return; }
        const shared_state& l = locations_[t.looked_at];
        if (t.sees.oldest[t.looked_at] > t.looked_index) { return; } // this pause is over: there is something new
        if (is_alone() && l.stores.size() - 1 == t.looked_index) { stop("deadlock: a lone thread waits for others"); }
        step({what::pause, t.looked_at, t.looked_index});
        // To see the same again would lead here again.
        t.sees.oldest[t.looked_at] = static_cast<std::uint16_t>(t.looked_index + 1);
        note([&](auto& s) { s << "pause " << place(at); });
        executed(t.looked_at, false);
    }

    void futex_wait(std::uint32_t id, word expected, const where& at) {
        const outside scope{*this};
        step({what::write, id, 0});
        const shared_state& l = use(id, at);
        const bool sleeps = l.stores.back().value == expected;
        thread_state& t = me();
        t.sees.oldest[id] = static_cast<std::uint16_t>(l.stores.size() - 1); // what the kernel has seen here is seen
        const bool early = sleeps && t.early_returns < how_.early_returns && choose(2) == 1;
        note([&](auto& s) {
            s << "futex wait" << (sleeps ? early ? ", returns early " : " " : ", returns ") << place(at);
        });
        executed(id, true);
        if (early) { ++t.early_returns; }
        if (!sleeps || early) { return; }
        t.woken = false;
        step({what::asleep, id, 0});
        note([&](auto& s) { s << "woken " << place(at); });
        executed(id, false);
    }

    void futex_wake(std::uint32_t id, const where& at) {
        const outside scope{*this};
        if (is_left_out("wake", at)) { return; }
        step({what::write, id, 0});
        note([&](auto& s) { s << "futex wake " << place(at); });
        for (thread_state& t : threads_) {
            if (t.next.kind == what::asleep && t.next.location == id) { t.woken = true; }
        }
        executed(id, true);
    }

    void process_fence(const where& at) {
        const outside scope{*this};
        if (is_left_out("fence", at)) { return; }
        if (how_.mode == settings::search::full && !is_alone()) { stop("a process fence in a full search"); }
        step({what::write, nothing, 0});
        note([&](auto& s) { s << "process fence " << place(at); });
        for (thread_state& t : threads_) {
            for (std::size_t i = 0; i < locations_used_; ++i) {
                t.sees.oldest[i] = static_cast<std::uint16_t>(locations_[i].stores.size() - 1);
            }
        }
        last_location_ = nothing;
    }

    void ring(std::uint32_t id, const where& at) {
        const outside scope{*this};
        if (is_left_out("ring", at)) { return; }
        step({what::write, id, 0});
        shared_state& l = use(id, at);
        note([&](auto& s) { s << "ring " << place(at); });
        replace_latest(l, id, 1, std::memory_order_acq_rel);
        executed(id, true);
    }

    bool hear(std::uint32_t id, bool sleeps, const where& at) {
        const outside scope{*this};
        step({sleeps ? what::hear : what::write, id, 0});
        shared_state& l = use(id, at);
        const bool rung = l.stores.back().value != 0;
        note([&](auto& s) { s << (rung ? "hears the bell " : "hears nothing ") << place(at); });
        replace_latest(l, id, 0, std::memory_order_acq_rel);
        executed(id, true);
        return rung;
    }

    void check(bool truth, const char* text, const where& at) {
        if (truth) { return; }
        const outside scope{*this};
        stop(std::string{text} + " at " + place(at));
    }

    void observe(word value) noexcept { observed_ = observed_ << 16U | (value & 0xFFFFU); }

    [[nodiscard]] unsigned current() const noexcept { return current_; }

    /// Ends this execution, from whichever fiber or signal handler.
    [[noreturn]] void stop(const std::string& why) {
        watch_as(nullptr);
        if (failure_.empty()) { failure_ = "thread " + std::to_string(current_) + ": " + why; }
        scheduler_.jump();
    }

private:
    enum class ending : std::uint8_t { complete, cut, failed };

    /// While the checker's own code runs on a fiber.
    struct outside {
        explicit outside(explorer& e) noexcept : home{e} { watch_as(nullptr); }
        ~outside() { home.inside(); }
        outside(const outside&) = delete;
        outside& operator=(const outside&) = delete;
        explorer& home;
    };

    void inside() noexcept {
        present_.thread = current_;
        present_.alone = !started_;
        present_.known = me().sees.known;
        watch_as(&present_);
    }

    thread_state& me() noexcept { return threads_[current_]; }
    [[nodiscard]] std::uint16_t now() noexcept { return me().sees.known[current_]; }
    [[nodiscard]] bool is_alone() const noexcept { return live_ == 1; }

    static std::string place(const where& at) {
        std::string file = at.file_name();
        file.erase(0, file.rfind('/') + 1);
        return "(" + file + ":" + std::to_string(at.line()) + ")";
    }

    template <class Write>
    void note(Write write) {
        if (how_.replay == nullptr) { return; }
        trace_ << "  thread " << current_ << ": ";
        if (me().next.location != nothing && !is_alone()) { trace_ << '#' << me().next.location << ' '; }
        write(trace_);
        trace_ << '\n';
    }

    // ---- the memory model --------------------------------------------------------------------------------------------

    shared_state& use(std::uint32_t id, const where& at) {
        shared_state& l = locations_[id];
        if (id >= locations_used_ || l.dead) { stop("an atomic is used after its destruction, at " + place(at)); }
        if (l.made_at > me().sees.known[l.maker]) {
            stop("an atomic is used by a thread that cannot know that it is there, at " + place(at));
        }
        l.used[current_] = now();
        return l;
    }

    std::size_t choose_store(const shared_state& l, std::uint32_t id) {
        const std::size_t oldest = me().sees.oldest[id];
        return l.stores.size() - 1 - choose(l.stores.size() - oldest);
    }

    word finish_load(shared_state& l, std::uint32_t id, std::size_t index, std::memory_order o, const char* name,
                     const where& at) {
        thread_state& t = me();
        const stored& s = l.stores[index];
        note([&](auto& out) {
            out << name << ' ' << s.value << ' ' << name_of(o) << (index + 1 == l.stores.size() ? " " : ", stale ")
                << place(at);
        });
        t.sees.oldest[id] = std::max(t.sees.oldest[id], static_cast<std::uint16_t>(index));
        t.looked_at = id;
        t.looked_index = static_cast<std::uint32_t>(index);
        if (acquires(o) && s.releases) { t.sees.join(s.released); }
        const word value = s.value;
        executed(id, false);
        return value;
    }

    /// `sequence`: what the store that an update replaces released, and this one goes on releasing.
    void push(shared_state& l, std::uint32_t id, word value, std::memory_order o, const stored* sequence) {
        thread_state& t = me();
        t.sees.oldest[id] = static_cast<std::uint16_t>(l.stores.size());
        stored s{value, false, {}};
        if (sequence != nullptr && sequence->releases) { s = {value, true, sequence->released}; }
        if (releases(o)) {
            s.releases = true;
            s.released.join(t.sees);
        }
        l.stores.push_back(s);
    }

    void replace_latest(shared_state& l, std::uint32_t id, word value, std::memory_order o) {
        const stored last = l.stores.back();
        if (acquires(o) && last.releases) { me().sees.join(last.released); }
        push(l, id, value, o, &last);
    }

    // ---- mutants -----------------------------------------------------------------------------------------------------

    [[nodiscard]] bool is_mutated(const char* operation, const where& at) const {
        const mutation* m = how_.mutant;
        return m != nullptr && (m->operation.empty() || m->operation == operation) &&
               (m->thread == 0 || m->thread == current_) &&
               std::strstr(at.function_name(), m->function.c_str()) != nullptr;
    }

    std::memory_order mutate(const char* operation, std::memory_order o, const where& at) {
        if (!is_mutated(operation, at)) { return o; }
        ++mutated_;
        return how_.mutant->order;
    }

    bool is_left_out(const char* operation, const where& at) {
        if (!is_mutated(operation, at)) { return false; }
        ++mutated_;
        return true;
    }

    static bool name_is_lock(const where& at) noexcept {
        return std::strstr(at.function_name(), "spin_lock::try_lock") != nullptr ||
               std::strstr(at.function_name(), "interleave::mutex::lock") != nullptr;
    }

    // ---- steps -------------------------------------------------------------------------------------------------------

    /// Says what the thread is about to do, and returns when it is its turn.
    void step(const pending_step& next) {
        me().next = next;
        if (is_alone() && next.kind != what::join) {
            if (!is_enabled(current_)) { stop("deadlock: a lone thread waits for others"); }
            return;
        }
        threads_fiber_[current_].switch_to(scheduler_);
    }

    /// One of `n` outcomes of the step that is being done.
    std::size_t choose(std::size_t n) {
        if (is_alone() || n < 2) { return 0; }
        decision& d = path_[depth_ - 1];
        if (how_.mode == settings::search::bounded && d.cost >= how_.bound) { n = 1; }
        if (how_.mode == settings::search::random && how_.replay == nullptr) {
            d.choice = next_random() % 2 == 0 ? 0 : static_cast<unsigned>(next_random() % n);
        }
        d.choices = static_cast<unsigned>(n);
        if (d.choice >= n) { stop("this schedule is not one of this program"); }
        return d.choice;
    }

    /// The step that was pending is done.
    void executed(std::uint32_t id, bool writes, bool locks = false) {
        shared_state& l = locations_[id];
        thread_state& t = me();
        last_location_ = id;
        last_writes_ = writes;
        const auto step_number = static_cast<std::uint32_t>(depth_);
        join(t.before, l.before_write);
        if (writes) { join(t.before, l.before_read); }
        t.before[current_] = step_number;
        join(writes ? l.before_write : l.before_read, t.before);
        ++t.sees.known[current_]; // what comes now is not known to those that have learnt of the step
        if (is_alone()) { return; }
        (writes ? l.last_write : l.last_read)[current_] = step_number;
        if (locks) { l.last_lock[current_] = step_number; }
    }

    [[nodiscard]] bool is_enabled(unsigned n) const noexcept {
        const thread_state& t = threads_[n];
        if (t.done) { return false; }
        const shared_state* l = t.next.location == nothing ? nullptr : &locations_[t.next.location];
        switch (t.next.kind) {
        case what::pause: return l->stores.size() - 1 > t.next.seen;
        case what::lock: return l->stores.back().value == t.next.seen;
        case what::hear: return l->stores.back().value != 0;
        case what::asleep: return t.woken;
        case what::join:
            return std::all_of(threads_.begin() + 1, threads_.begin() + live_,
                               [](const thread_state& o) { return o.done; });
        default: return true;
        }
    }

    void note_outcome(verdict& v) const {
        const auto at = std::lower_bound(v.outcomes.begin(), v.outcomes.end(), observed_);
        if (at == v.outcomes.end() || *at != observed_) { v.outcomes.insert(at, observed_); }
    }

    // ---- the search --------------------------------------------------------------------------------------------------

    struct thread_fiber : fiber {
        void switch_to(fiber& other) noexcept { other.switch_from(*this); }
    };

    static void begin_thread() {
        explorer& e = *running;
        e.inside();
        if (e.current_ == 0) {
            e.program_();
        } else {
            (*e.me().body)();
        }
        watch_as(nullptr);
        e.me().done = true;
        e.scheduler_.jump();
    }

    void resume(unsigned n) {
        current_ = n;
        threads_fiber_[n].switch_from(scheduler_);
        watch_as(nullptr);
    }

    void begin_execution() {
        begin_watching();
        depth_ = 0;
        locations_used_ = 0;
        live_ = 1;
        started_ = false;
        observed_ = 0;
        for (thread_state& t : threads_) { t = thread_state{}; }
        threads_[0].sees.known[0] = 1;
        threads_fiber_[0].begin(begin_thread);
    }

    ending execute() {
        begin_execution();
        resume(0); // up to run_threads, or to its end
        for (unsigned n = 1; n < live_ && failure_.empty(); ++n) {
            threads_fiber_[n].begin(begin_thread);
            resume(n); // up to its first step
        }
        while (failure_.empty()) {
            if (threads_[0].done) {
                if (blocks_left() != 0) { failure_ = std::to_string(blocks_left()) + " blocks of memory leaked"; }
                break;
            }
            unsigned enabled = 0;
            for (unsigned n = 0; n < live_; ++n) { enabled |= is_enabled(n) ? 1U << n : 0U; }
            if (enabled == 0) {
                failure_ = "deadlock" + who_waits();
                break;
            }
            if (depth_ == max_steps) {
                failure_ = "no end after " + std::to_string(max_steps) + " steps";
                break;
            }
            if (how_.mode == settings::search::full) { note_races(); }
            if (!decide(enabled)) { return ending::cut; }
            resume(path_[depth_ - 1].thread);
        }
        if (!failure_.empty()) { return ending::failed; }
        return ending::complete;
    }

    std::string who_waits() const {
        std::string text;
        for (unsigned n = 1; n < live_; ++n) {
            if (threads_[n].done) { continue; }
            constexpr std::array kinds{"", "", "for a lock", "in a loop for a change", "for its bell", "in futex wait",
                                       ""};
            text += ", thread " + std::to_string(n) + " waits " +
                    kinds[static_cast<std::size_t>(threads_[n].next.kind)] + " #" +
                    std::to_string(threads_[n].next.location);
        }
        return text;
    }

    /// Decides which thread does the next step. Returns: false when every way on has been seen.
    bool decide(unsigned enabled) {
        if (depth_ < path_.size()) {
            decision& d = path_[depth_++];
            d.enabled = enabled;
            if ((enabled >> d.thread & 1U) == 0) {
                failure_ = "this schedule is not one of this program";
                return false;
            }
            return true;
        }
        decision d;
        d.enabled = enabled;
        const decision* last = path_.empty() ? nullptr : &path_.back();
        if (how_.mode == settings::search::full && last != nullptr) { d.asleep = still_asleep(*last); }
        unsigned candidates = enabled & ~d.asleep;
        if (candidates == 0) { return false; }
        const bool goes_on = last != nullptr && (candidates >> last->thread & 1U) != 0;
        if (last != nullptr) { d.cost = last->cost + (last->choice != 0 ? 1U : 0U); }
        if (how_.mode == settings::search::bounded) {
            if (goes_on && d.cost >= how_.bound) { candidates = 1U << last->thread; }
            d.to_try = candidates;
        }
        d.thread = goes_on ? last->thread : lowest(candidates);
        if (how_.mode == settings::search::random && how_.replay == nullptr) { d.thread = pick(candidates, d.thread); }
        if (how_.mode == settings::search::full) { d.to_try = 1U << d.thread; }
        path_.push_back(d);
        ++depth_;
        return true;
    }

    static unsigned lowest(unsigned set) noexcept { return static_cast<unsigned>(__builtin_ctz(set)); }

    unsigned pick(unsigned candidates, unsigned usual) {
        if (next_random() % 3 != 0) { return usual; }
        unsigned n = static_cast<unsigned>(next_random() % static_cast<unsigned>(__builtin_popcount(candidates)));
        while (n-- > 0) { candidates &= candidates - 1; }
        return lowest(candidates);
    }

    /// Sleep sets (Godefroid): threads that were tried before at the last decision and do not mind what was done instead.
    unsigned still_asleep(const decision& last) const noexcept {
        unsigned set = (last.asleep | last.tried) & ~(1U << last.thread);
        for (unsigned n = 0; n < live_; ++n) {
            const pending_step& p = threads_[n].next;
            if (p.location == last_location_ && p.location != nothing && (last_writes_ || !only_reads(p))) {
                set &= ~(1U << n);
            }
        }
        return set;
    }

    static bool only_reads(const pending_step& p) noexcept {
        return p.kind == what::read || p.kind == what::pause || p.kind == what::asleep;
    }

    /// Dynamic partial order reduction (Flanagan, Godefroid 2005): a thread that is about to do what might as well have come before
    /// something that others have done has to be tried there.
    void note_races() {
        if (depth_ + 1 < path_.size()) { return; } // seen before
        for (unsigned n = 1; n < live_; ++n) {
            const thread_state& t = threads_[n];
            if (t.done || t.next.location == nothing) { continue; }
            if (t.next.kind == what::pause || t.next.kind == what::asleep) { continue; } // its end has to come first
            const shared_state& l = locations_[t.next.location];
            for (unsigned other = 1; other < live_; ++other) {
                if (other == n) { continue; }
                if (t.next.kind == what::lock) {
                    note_race(n, l.last_lock[other], t.before[other]); // the unlock has to come first
                    continue;
                }
                note_race(n, l.last_write[other], t.before[other]);
                if (!only_reads(t.next)) { note_race(n, l.last_read[other], t.before[other]); }
            }
        }
    }

    void note_race(unsigned n, std::uint32_t step_number, std::uint32_t known) {
        if (step_number == 0 || step_number <= known) { return; }
        decision& d = path_[step_number - 1];
        d.to_try |= (d.enabled >> n & 1U) != 0 ? 1U << n : d.enabled;
    }

    /// Prepares the next execution. Returns: false when there is none.
    bool next_schedule(verdict& v) {
        const std::uint64_t done = v.schedules + v.cut;
        if (how_.schedules != 0 && done >= how_.schedules) { return false; }
        if (how_.mode == settings::search::random) {
            path_.clear();
            return true;
        }
        path_.resize(depth_ < path_.size() ? depth_ : path_.size());
        while (!path_.empty()) {
            decision& d = path_.back();
            if (d.choice + 1 < d.choices) {
                ++d.choice;
                return true;
            }
            d.tried |= 1U << d.thread;
            const unsigned left = d.to_try & ~d.tried & ~d.asleep;
            if (left != 0) {
                d.cost = cost_of(path_.size() - 1, lowest(left));
                d.thread = lowest(left);
                d.choice = 0;
                d.choices = 1;
                return true;
            }
            path_.pop_back();
        }
        v.exhausted = true;
        return false;
    }

    /// What a bounded search has spent when this thread goes on at this decision.
    unsigned cost_of(std::size_t at, unsigned thread) const noexcept {
        if (at == 0) { return 0; }
        const decision& last = path_[at - 1];
        const bool preempts = thread != last.thread && (path_[at].enabled >> last.thread & 1U) != 0;
        return last.cost + (last.choice != 0 ? 1U : 0U) + (preempts ? 1U : 0U);
    }

    std::uint64_t next_random() noexcept { // xorshift
        random_ ^= random_ << 13U;
        random_ ^= random_ >> 7U;
        random_ ^= random_ << 17U;
        return random_;
    }

    // ---- schedules as text: one letter for each thread, a number behind it for an outcome that is not the first -------

    std::string schedule() const {
        std::string text;
        for (std::size_t i = 0; i < std::min(depth_, path_.size()); ++i) {
            text += static_cast<char>('a' + path_[i].thread);
            if (path_[i].choice != 0) { text += std::to_string(path_[i].choice); }
        }
        return text;
    }

    void read_schedule() {
        for (const char c : std::string_view{how_.replay}) {
            if (c >= 'a' && c < static_cast<char>('a' + max_threads)) {
                path_.emplace_back().thread = static_cast<unsigned>(c - 'a');
            } else if (c >= '0' && c <= '9' && !path_.empty()) {
                path_.back().choice = path_.back().choice * 10 + static_cast<unsigned>(c - '0');
            }
        }
    }

    const std::function<void()>& program_;
    const settings& how_;
    fiber scheduler_;
    std::array<thread_fiber, max_threads> threads_fiber_;
    std::array<thread_state, max_threads> threads_;
    own_vector<shared_state> locations_;
    std::size_t locations_used_ = 0;
    own_vector<decision> path_;
    std::size_t depth_ = 0;
    unsigned current_ = 0;
    unsigned live_ = 1; // threads that there are
    bool started_ = false;
    present present_;
    std::uint32_t last_location_ = nothing;
    bool last_writes_ = false;
    std::uint64_t mutated_ = 0;
    word observed_ = 0;
    std::uint64_t random_ = 1;
    std::string failure_;
    std::ostringstream trace_;
};

void on_signal(int n) {
    if (running == nullptr) { std::_Exit(3); }
    watch_as(nullptr);
    running->stop(n == SIGABRT ? "the library calls abort" : "a crash: a wild pointer, or no stack left");
}

void catch_signals() {
    static bool done = false;
    if (std::exchange(done, true)) { return; }
    stack_t own{};
    own.ss_size = std::size_t{64} << 10U;
    own.ss_sp = std::malloc(own.ss_size);
    ::sigaltstack(&own, nullptr);
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    for (const int n : {SIGABRT, SIGSEGV, SIGBUS}) { ::sigaction(n, &action, nullptr); }
}

} // namespace

void fail(const std::string& why) noexcept { running->stop(why); }

void run_threads(std::initializer_list<std::function<void()>> bodies) { running->run_threads(bodies); }

void check(bool truth, const char* text, where at) { running->check(truth, text, at); }

void observe(word value) { running->observe(value); }

std::uint32_t this_thread() noexcept { return running->current() + 1; }

void pause(where at) noexcept { running->pause(at); }

void process_fence(where at) noexcept { running->process_fence(at); }

location::location(word initial, std::size_t size, const where& made) noexcept
    : id_{running->add_location(initial, size, made)} {}
location::~location() { running->remove_location(id_); }

word location::load_word(std::memory_order order, const where& at) const noexcept {
    return running->load(id_, order, at);
}
void location::store_word(word value, std::memory_order order, const where& at) noexcept {
    running->store(id_, value, order, at);
}
word location::update_word(update kind, word operand, std::memory_order order, const where& at) noexcept {
    return running->modify(id_, kind, operand, order, at);
}
bool location::compare_exchange_word(word& expected, word desired, bool weak, std::memory_order success,
                                     std::memory_order failure, const where& at) noexcept {
    return running->compare_exchange(id_, expected, desired, weak, success, failure, at);
}
void location::wait_word(word expected, const where& at) const noexcept { running->futex_wait(id_, expected, at); }
void location::wake_word(const where& at) const noexcept { running->futex_wake(id_, at); }

void bell::ring(where at) noexcept { running->ring(id_, at); }
bool bell::heard(where at) noexcept { return running->hear(id_, false, at); }
void bell::wait(where at) noexcept { running->hear(id_, true, at); }

void mutex::lock() noexcept {
    const where at = where::current();
    for (;;) {
        word expected = 0;
        if (compare_exchange_word(expected, 1, false, std::memory_order_acquire, std::memory_order_relaxed, at)) {
            return;
        }
        pause();
    }
}

verdict explore(const std::function<void()>& program, const settings& how) {
    catch_signals();
    return explorer{program, how}.run();
}

} // namespace interleave
