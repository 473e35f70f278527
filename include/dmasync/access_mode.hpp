// SPDX-License-Identifier: MIT
#pragma once
/// \file access_mode.hpp  How a buffer is going to be used: the six access types and the rule by which two of them conflict.

#include <dmasync/error.hpp>
#include <dmasync/version.hpp>

#include <cstdint>
#include <string_view>
#include <system_error>

namespace dmasync::inline DMASYNC_ABI {

/// What the holder of a buffer does with it: by CPU or by a device, reading, writing or both.
///
/// The enumerators are the flags of the C interface they come from (1 read, 2 write, 4 DMA), so a value received as
/// flags needs no table; `access_from_flags` refuses what is none of the six.
/// Source: S3; DMA_BUF_ACCESS_* of the dmabuf-sync proposal.
enum class access_mode : std::uint8_t {
    read = 1,
    write = 2,
    read_write = 3,
    dma_read = 5,
    dma_write = 6,
    dma_read_write = 7,
};

/// Whether the holder changes the buffer: it is then alone. `read_write` counts as writing (S3).
[[nodiscard]] constexpr bool is_write(access_mode a) noexcept { return (static_cast<unsigned>(a) & 2U) != 0; }

/// Whether a device, not the CPU, touches the buffer. Such a holder gets no CPU pointer (S14).
[[nodiscard]] constexpr bool is_dma(access_mode a) noexcept { return (static_cast<unsigned>(a) & 4U) != 0; }

/// Whether two holders exclude each other. Readers share, CPU and DMA readers alike (S6).
[[nodiscard]] constexpr bool conflict(access_mode a, access_mode b) noexcept { return is_write(a) || is_write(b); }

/// The same use of the memory without changing it: what a hold becomes by `guard::downgrade`.
[[nodiscard]] constexpr access_mode as_reader(access_mode a) noexcept {
    return is_dma(a) ? access_mode::dma_read : access_mode::read;
}

/// The same use of the memory, changing it: what a hold becomes by `guard::try_upgrade`.
[[nodiscard]] constexpr access_mode as_writer(access_mode a) noexcept {
    return is_dma(a) ? access_mode::dma_read_write : access_mode::read_write;
}

/// Whether a value that came from outside (a flag word, a cast) is one of the six.
[[nodiscard]] constexpr bool is_valid(access_mode a) noexcept {
    const auto bits = static_cast<unsigned>(a);
    return bits <= 7U && (bits & 3U) != 0;
}

/// The access that a flag word stands for.
/// Errors: `errc::invalid_access` when it stands for none (no direction, or unknown bits); the result is then `read`.
/// Threads: any.
[[nodiscard]] inline access_mode access_from_flags(unsigned flags, std::error_code& ec) noexcept {
    const bool known = flags <= 7U && is_valid(static_cast<access_mode>(flags));
    ec = known ? std::error_code{} : make_error_code(errc::invalid_access);
    return known ? static_cast<access_mode>(flags) : access_mode::read;
}

/// The name of an access as reports print it.
[[nodiscard]] constexpr std::string_view to_string(access_mode a) noexcept {
    switch (a) {
    case access_mode::read: return "read";
    case access_mode::write: return "write";
    case access_mode::read_write: return "read_write";
    case access_mode::dma_read: return "dma_read";
    case access_mode::dma_write: return "dma_write";
    case access_mode::dma_read_write: return "dma_read_write";
    }
    return "invalid";
}

} // namespace dmasync::inline DMASYNC_ABI
