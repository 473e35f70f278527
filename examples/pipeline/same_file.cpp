// SPDX-License-Identifier: MIT
#include "same_file.hpp"

#include "destination.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <optional>

namespace pipeline {
namespace {

using file_status = struct stat;

std::optional<file_status> status_of(const named_file& file) {
    file_status status{};
    const int failed = file.name == "-" ? ::fstat(file.standard, &status) : ::stat(file.name.c_str(), &status);
    return failed != 0 ? std::nullopt : std::optional{status};
}

bool is_same_new_file(const named_file& a, const named_file& b) {
    if (a.name == "-" || b.name == "-") { return false; }
    try {
        return destination(a.name) == destination(b.name);
    } catch (const std::filesystem::filesystem_error&) {
        return false; // what cannot be resolved cannot be opened either, and that says why
    }
}

} // namespace

bool is_same_file(const named_file& a, const named_file& b) {
    const std::optional<file_status> first = status_of(a);
    const std::optional<file_status> second = status_of(b);
    if (!first && !second) { return is_same_new_file(a, b); }
    return first && second && !S_ISCHR(first->st_mode) && first->st_dev == second->st_dev &&
           first->st_ino == second->st_ino;
}

} // namespace pipeline
