// SPDX-License-Identifier: MIT
#pragma once
/// \file fd_io.hpp  Blocking reads and writes that survive signals and short transfers.

#include <cstddef>
#include <span>
#include <string>

namespace pipeline {

/// Reads once; 0 means the end. Throws std::system_error naming `name`.
[[nodiscard]] std::size_t read_some(int fd, std::span<std::byte> into, const std::string& name);

/// Reads until `into` is full or the stream ends; returns the number of bytes read.
[[nodiscard]] std::size_t read_full(int fd, std::span<std::byte> into, const std::string& name);

/// Writes all of `bytes`. Throws std::system_error naming `name` (full disk, closed pipe, ...).
void write_all(int fd, std::span<const std::byte> bytes, const std::string& name);

/// Makes a write to a pipe nobody reads an error (EPIPE) instead of a silent death of the process.
void ignore_broken_pipe_signal() noexcept;

} // namespace pipeline
