// SPDX-License-Identifier: MIT
#pragma once
/// \file fiber.hpp  Threads of the checker: stacks that are switched between, without a system call once begun.

#include <csetjmp>
#include <cstddef>
#include <cstdlib>

#include <ucontext.h>

namespace interleave {

/// Where something that was left goes on.
class fiber {
public:
    fiber() noexcept = default;
    fiber(const fiber&) = delete;
    fiber& operator=(const fiber&) = delete;
    ~fiber() { std::free(stack_); }

    /// From here `body` is called when it is first switched to. What it did before is forgotten.
    void begin(void (*body)()) noexcept {
        constexpr std::size_t stack_size = std::size_t{128} << 10U;
        if (stack_ == nullptr) { stack_ = std::malloc(stack_size); }
        ::getcontext(&start_);
        start_.uc_stack.ss_sp = stack_;
        start_.uc_stack.ss_size = stack_size;
        start_.uc_link = nullptr;
        ::makecontext(&start_, body, 0);
        begun_ = false;
    }

    /// Leaves `from`, to come back when it is switched to, and goes on here.
    [[gnu::noinline]] void switch_from(fiber& from) noexcept {
        if (_setjmp(from.at_) == 0) { jump(); }
    }

    /// The same, without coming back.
    [[noreturn]] void jump() noexcept {
        if (begun_) { _longjmp(at_, 1); }
        begun_ = true;
        ::setcontext(&start_);
        std::abort();
    }

private:
    ucontext_t start_{};
    std::jmp_buf at_{};
    void* stack_ = nullptr;
    bool begun_ = true; // the one that is there already
};

} // namespace interleave
