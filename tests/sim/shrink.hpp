// SPDX-License-Identifier: MIT
#pragma once
/// \file shrink.hpp  Finds a small part of a program that goes wrong in the same way.

#include <sim/program.hpp>
#include <sim/report.hpp>

#include <string>
#include <vector>

namespace sim {

/// How to run a part of a program: the options after `--seed N`.
[[nodiscard]] std::vector<std::string> options_of(const selection& s);

/// Runs a part in a process of its own, silently. Returns: what went wrong in it.
[[nodiscard]] invariant try_part(const program& p, const selection& s, bool with_nonsense);

/// Leaves out whatever can be left out with the same invariant failing: operations, then buffers.
[[nodiscard]] selection shrink(const program& p, invariant what, bool with_nonsense);

} // namespace sim
