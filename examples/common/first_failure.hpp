// SPDX-License-Identifier: MIT
#pragma once
/// \file first_failure.hpp  What several coroutines have failed of: one of them fails, the others fail because of it.

#include <dmasync/task.hpp>

#include <exception>
#include <mutex>
#include <stop_token>
#include <utility>

namespace common {

/// Keeps what went wrong first, and stops everything: what goes wrong because of that is of no interest.
/// Threads: any.
class first_failure {
public:
    explicit first_failure(std::stop_source stop) : stop_{std::move(stop)} {}

    void note(std::exception_ptr failure) {
        {
            const std::lock_guard lock{mutex_};
            if (!failure_) { failure_ = std::move(failure); }
        }
        stop_.request_stop();
    }

    void rethrow() const {
        if (failure_) { std::rethrow_exception(failure_); }
    }

private:
    std::stop_source stop_;
    std::mutex mutex_;
    std::exception_ptr failure_;
};

/// Runs a task to its end, and notes its failure instead of throwing it.
inline dmasync::task<> note_failure(dmasync::task<> work, first_failure& failure) {
    try {
        co_await work;
    } catch (...) { failure.note(std::current_exception()); }
}

} // namespace common
