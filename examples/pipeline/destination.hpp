// SPDX-License-Identifier: MIT
#pragma once
/// \file destination.hpp  Where a name of a file leads.

#include <filesystem>
#include <optional>
#include <string>

namespace pipeline {

/// The absolute path of the file that opening `path` for writing would make or change: symbolic links are followed, also
/// one to a file that does not exist yet. Throws std::filesystem::filesystem_error.
[[nodiscard]] std::filesystem::path destination(const std::string& path);

/// The descriptor that a name like "-" or "/dev/stdout" means, if it means one: one that another program has opened,
/// which decides what is in the file already, and where writing goes on.
[[nodiscard]] std::optional<int> inherited_descriptor(const std::string& path);

} // namespace pipeline
