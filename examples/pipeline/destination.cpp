// SPDX-License-Identifier: MIT
#include "destination.hpp"

#include <unistd.h>

#include <charconv>
#include <string_view>
#include <system_error>

namespace pipeline {
namespace fs = std::filesystem;
namespace {

constexpr int most_links = 40; // as the kernel has it

std::optional<int> number_in(std::string_view text) {
    int number = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc{} && end == text.data() + text.size() && number >= 0;
    return whole ? std::optional{number} : std::nullopt;
}

} // namespace

fs::path destination(const std::string& path) {
    fs::path target = fs::absolute(path);
    for (int links = 0; fs::is_symlink(fs::symlink_status(target)); ++links) {
        if (links == most_links) {
            throw fs::filesystem_error{path, std::make_error_code(std::errc::too_many_symbolic_link_levels)};
        }
        target = target.parent_path() / fs::read_symlink(target);
    }
    return fs::weakly_canonical(target);
}

std::optional<int> inherited_descriptor(const std::string& path) {
    if (path == "-" || path == "/dev/stdout") { return STDOUT_FILENO; }
    if (path == "/dev/stderr") { return STDERR_FILENO; }
    for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
        if (path.starts_with(folder)) { return number_in(std::string_view{path}.substr(folder.size())); }
    }
    return std::nullopt;
}

} // namespace pipeline
