// SPDX-License-Identifier: MIT
// Every order in the library that is not relaxed, and every wake-up: weakened or left out, it has to be missed.
//
// An update that acquires and releases is here twice, without the one and without the other.

#include "programs.hpp"

namespace interleave {

namespace {
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto relaxed = std::memory_order_relaxed;
} // namespace

const std::vector<mutant> all_mutants{
    {"spin_lock.two_threads", {"spin_lock::try_lock", "cas"}},
    {"spin_lock.two_threads", {"spin_lock::unlock", "store"}},
    {"biased_lock.revoked", {"biased_lock::unlock_biased", "store"}},
    {"biased_lock.revoked", {"biased_lock::lock_biased", "store"}},
    {"biased_lock.revoked", {"biased_lock::revoke", "load"}},
    {"biased_lock.revoked", {"biased_lock::revoke", "fence"}},
    {"event_loop.one_poster", {"event_loop::post", "cas"}},
    {"event_loop.one_poster", {"event_loop::take_remote", "exchange"}},
    {"event_loop.one_poster", {"model_loop::wake", "ring", relaxed, 2}},
    {"event_loop.left_to_host", {"model_loop::wake", "ring", relaxed, 1}},
    {"event_loop.stopped", {"model_loop::wake", "ring", relaxed, 2}},
    {"event_loop.stopped", {"event_loop::stop", "store"}},
    {"event_loop.stopped", {"event_loop::take_stop", "exchange"}},
    {"event_loop.time_moved", {"event_loop::now", "load"}},
    {"event_loop.time_moved", {"event_loop::coarse_now", "load"}},
    {"event_loop.failed", {"event_loop::end_with", "store"}},
    {"event_loop.failed", {"event_loop::error", "load"}},
    {"task.ends_elsewhere", {"task_promise_base::continue_with", "store"}},
    {"task.continued_elsewhere", {"task_promise_base::successor", "load"}},
    {"task.ends_elsewhere", {"run_state::drive", "store"}},
    {"task.ends_elsewhere", {"run_state::wait_until_left", "load"}},
    {"task.joined", {"join_counter::arrive", "subtract", acquire}},
    {"task.joined", {"join_counter::arrive", "subtract", release}},
    {"hand_over.to_blocked_thread", {"core::notify", "store"}},
    {"hand_over.to_blocked_thread", {"acquire::is_settled", "load"}},
    {"hand_over.to_blocked_thread", {"core::notify", "wake"}},
    {"hand_over.to_coroutine", {"model_loop::wake", "ring", relaxed, 1}},
    {"lease.earlier_end_or_grant_blocked", {"waiting_loops::call", "store"}},
    {"lease.earlier_end_or_grant_blocked", {"sleeper::wait_for_caller", "load"}},
    {"lease.expiry_seen", {"set_phase", "store"}},
    {"lease.expiry_seen", {"guard::expired", "load"}},
    {"lease.expiry_seen", {"guard::refuse_bytes", "load"}},
    {"lease.resumed_late", {"lock_operation::outcome", "load"}},
    {"lifetime.last_handles", {"buffers::drop_handle", "cas"}},
    {"lifetime.last_handles", {"buffers::drop_handle", "subtract"}},
    {"device.expiry_seen", {"holds::publish", "load"}},
    {"device.readers_enter", {"cpu_bracket::enter", "load"}},
    {"device.readers_enter", {"cpu_bracket::change", ""}}, // two updates in a row: that one of them releases is enough
    {"device.inherited", {"cpu_bracket::end_open", "load"}},
    {"device.inherited", {"cpu_bracket::inherit", "or"}},
};

} // namespace interleave
