// SPDX-License-Identifier: MIT
#pragma once
/// \file same_file.hpp  Whether two names mean one file, so that writing by one would destroy what the other is for.

#include <string>

namespace pipeline {

/// A name as the command line gives it: "-" is the descriptor `standard`.
struct named_file {
    std::string name;
    int standard = -1;
};

/// Follows symbolic links and knows hard links; files that do not exist yet are compared by where they would appear.
/// Devices keep nothing that could be destroyed: they are never the same.
[[nodiscard]] bool is_same_file(const named_file& a, const named_file& b);

} // namespace pipeline
