// SPDX-License-Identifier: MIT
#pragma once
/// \file frame_use.hpp  How much goes on at the same time: frames that are locked, and stages that have locked them.

#include <algorithm>
#include <cstddef>
#include <mutex>

namespace pipeline {

struct use_count {
    std::size_t stages = 0;
    std::size_t frames = 0;
};

/// Threads: any.
class frame_use {
public:
    /// One stage uses some frames while this lives.
    class share {
    public:
        share(frame_use& of, std::size_t frames) : of_{of}, frames_{frames} { of_.begin(frames_); }
        share(const share&) = delete;
        share& operator=(const share&) = delete;
        ~share() { of_.end(frames_); }

    private:
        frame_use& of_;
        std::size_t frames_;
    };

    /// The most of each that there has been at once.
    [[nodiscard]] use_count most() const {
        const std::lock_guard lock{mutex_};
        return most_;
    }

private:
    void begin(std::size_t frames) {
        const std::lock_guard lock{mutex_};
        now_ = {now_.stages + 1, now_.frames + frames};
        most_ = {std::max(most_.stages, now_.stages), std::max(most_.frames, now_.frames)};
    }

    void end(std::size_t frames) {
        const std::lock_guard lock{mutex_};
        now_ = {now_.stages - 1, now_.frames - frames};
    }

    mutable std::mutex mutex_;
    use_count now_;
    use_count most_;
};

} // namespace pipeline
