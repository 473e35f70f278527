// SPDX-License-Identifier: MIT
#pragma once
/// \file input.hpp  The bytes of a fuzzer as numbers, and what a target says when a property does not hold.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

/// Ends the program when something does not hold that always has to; both fuzzers and ./check take that for a failure.
#define FUZZ_REQUIRE(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                        \
            std::abort();                                                                                              \
        }                                                                                                              \
    } while (false)

namespace fuzz {

/// What the fuzzer gives, eaten from both ends: what a program does comes from the front, what it is answered from the
/// back, so that one more answer does not turn all the operations into others. Zeros when nothing is left.
class input {
public:
    input(const std::uint8_t* data, std::size_t size) noexcept : left_{data, size} {}

    [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return left_.size(); }

    [[nodiscard]] std::uint8_t byte() noexcept {
        if (left_.empty()) { return 0; }
        const std::uint8_t b = left_.front();
        left_ = left_.subspan(1);
        return b;
    }

    [[nodiscard]] std::uint8_t last_byte() noexcept {
        if (left_.empty()) { return 0; }
        const std::uint8_t b = left_.back();
        left_ = left_.first(left_.size() - 1);
        return b;
    }

    /// A number of any value, in the order of bytes of this machine.
    template <class Number>
    [[nodiscard]] Number number() noexcept {
        Number n{};
        fill(&n, sizeof n);
        return n;
    }

    /// Overwrites `size` bytes, as far as there is anything left.
    void fill(void* to, std::size_t size) noexcept {
        const std::size_t n = std::min(size, left_.size());
        if (n > 0) { std::memcpy(to, left_.data(), n); }
        left_ = left_.subspan(n);
    }

private:
    std::span<const std::uint8_t> left_;
};

} // namespace fuzz
