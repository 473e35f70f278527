// SPDX-License-Identifier: MIT
// Accesses that come from outside: as flags of a C interface, as casts. Input: words of 32 bits, each taken for both.
#include <dmasync/access_mode.hpp>

#include "input.hpp"

#include <dmasync/domain.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>

#include <array>
#include <cstddef>
#include <string_view>
#include <system_error>

using namespace dmasync;

namespace {

struct known {
    unsigned flags;
    std::string_view name;
};
constexpr std::array<known, 6> table{
    {{1, "read"}, {2, "write"}, {3, "read_write"}, {5, "dma_read"}, {6, "dma_write"}, {7, "dma_read_write"}}};

const known* find(unsigned flags) noexcept {
    for (const known& k : table) {
        if (k.flags == flags) { return &k; }
    }
    return nullptr;
}

/// Only the six are made of flags, and give the flags back.
void check_flags(unsigned flags) {
    std::error_code ec = errc::closed;
    const access_mode a = access_from_flags(flags, ec);
    FUZZ_REQUIRE(is_valid(a));
    if (find(flags) != nullptr) {
        FUZZ_REQUIRE(!ec);
        FUZZ_REQUIRE(static_cast<unsigned>(a) == flags);
    } else {
        FUZZ_REQUIRE(ec == errc::invalid_access);
        FUZZ_REQUIRE(a == access_mode::read);
    }
}

/// An access is not asked first whether it is valid: what is none is called so, and keeps to the rules.
void check_cast(std::uint8_t bits) {
    const auto a = static_cast<access_mode>(bits);
    const known* k = find(bits);
    FUZZ_REQUIRE(is_valid(a) == (k != nullptr));
    FUZZ_REQUIRE(to_string(a) == (k == nullptr ? "invalid" : k->name));
    FUZZ_REQUIRE(is_valid(as_reader(a)) && !is_write(as_reader(a)));
    FUZZ_REQUIRE(is_dma(as_reader(a)) == is_dma(a));
    for (const known& other : table) {
        const auto b = static_cast<access_mode>(other.flags);
        FUZZ_REQUIRE(conflict(a, b) == conflict(b, a));
        FUZZ_REQUIRE(conflict(a, b) == (is_write(a) || is_write(b)));
    }
}

/// A set takes the six, and nothing else.
void check_set(std::uint8_t bits) {
    static std::array<std::byte, 16> memory;
    manual_loop loop;
    domain d{loop};
    std::error_code ec;
    const buffer b = d.adopt(memory, "memory", ec);
    FUZZ_REQUIRE(!ec);
    lock_set set{d};
    set.add(b, static_cast<access_mode>(bits), ec);
    FUZZ_REQUIRE(ec == (find(bits) == nullptr ? make_error_code(errc::invalid_access) : std::error_code{}));
    FUZZ_REQUIRE(set.size() == (ec ? 0U : 1U));
    const guard held = set.try_lock(ec);
    FUZZ_REQUIRE(ec == (find(bits) == nullptr ? make_error_code(errc::empty_set) : std::error_code{}));
    const bool has_bytes = held && !held.bytes(b, ec).empty();
    FUZZ_REQUIRE(has_bytes == (held && !is_dma(static_cast<access_mode>(bits))));
    const bool writable = held && !held.writable_bytes(b, ec).empty();
    FUZZ_REQUIRE(writable == (has_bytes && is_write(static_cast<access_mode>(bits))));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::input in{data, std::min<std::size_t>(size, 64)};
    while (!in.empty()) {
        const auto flags = in.number<unsigned>();
        check_flags(flags);
        check_cast(static_cast<std::uint8_t>(flags));
        check_set(static_cast<std::uint8_t>(flags));
    }
    return 0;
}
