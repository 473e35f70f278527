// SPDX-License-Identifier: MIT
#pragma once
/// \file printable.hpp  Text from outside, made fit for a terminal and for a shell.

#include <string>
#include <string_view>

namespace pipeline {

/// Control characters, and bytes that are no UTF-8, as \xNN: they could do anything to a terminal.
[[nodiscard]] std::string printable(std::string_view text);

/// `text` as one word of a shell's command line.
[[nodiscard]] std::string shell_word(std::string_view text);

} // namespace pipeline
