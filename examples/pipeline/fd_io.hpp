// SPDX-License-Identifier: MIT
#pragma once
/// \file fd_io.hpp  Blocking reads and writes that survive signals and short transfers, and end at a stop request.

#include <cstddef>
#include <span>
#include <stop_token>
#include <string>

namespace pipeline {

// Each may be given a stop token: a request ends it within a tenth of a second, however long a pipe would have kept it
// waiting, with std::errc::operation_canceled as std::system_error.

/// Reads once; 0 means the end. Throws std::system_error naming `name`.
[[nodiscard]] std::size_t read_some(int fd, std::span<std::byte> into, const std::string& name,
                                    const std::stop_token& stop = {});

/// Reads until `into` is full or the stream ends; returns the number of bytes read.
[[nodiscard]] std::size_t read_full(int fd, std::span<std::byte> into, const std::string& name,
                                    const std::stop_token& stop = {});

/// Writes all of `bytes`. Throws std::system_error naming `name` (full disk, closed pipe, ...).
void write_all(int fd, std::span<const std::byte> bytes, const std::string& name, const std::stop_token& stop = {});

/// Whether a transfer would not block now; that it would fail counts too. `events` are those of poll(2).
[[nodiscard]] bool is_ready(int fd, short events) noexcept;

/// Writes once, no more than does not block where is_ready() was true; returns how much. Throws as write_all.
[[nodiscard]] std::size_t write_some(int fd, std::span<const std::byte> bytes, const std::string& name);

/// Throws std::errc::operation_canceled, as std::system_error naming `name`, after a stop request.
void throw_if_stopped(const std::stop_token& stop, const std::string& name);

/// Makes errors of what would otherwise be the death of the process: a write to a pipe without readers (EPIPE), and one
/// beyond the largest size that a file may have (EFBIG).
void make_write_signals_errors() noexcept;

/// Puts something that can be neither read nor written in the place of a closed standard input, output or error: a file
/// opened later would get its number, and messages would end up in the video.
void occupy_closed_descriptors() noexcept;

} // namespace pipeline
