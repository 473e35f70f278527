// SPDX-License-Identifier: MIT
#include "device_node.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

namespace devices {
namespace {

std::optional<unsigned> number_after(std::string_view prefix, std::string_view name) {
    if (!name.starts_with(prefix)) { return std::nullopt; }
    unsigned number = 0;
    const char* const end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, number);
    return error == std::errc{} && rest == end ? std::optional{number} : std::nullopt;
}

} // namespace

void fail(const std::string& device, std::string_view call, int error) {
    throw std::system_error{error, std::generic_category(), device + ": " + std::string{call}};
}

std::vector<std::string> numbered_files(const std::string& folder, std::string_view prefix) {
    std::vector<std::pair<unsigned, std::string>> found;
    std::error_code none; // without the folder there are no files
    for (const auto& entry : std::filesystem::directory_iterator{folder, none}) {
        const std::string name = entry.path().filename().string();
        if (const auto number = number_after(prefix, name)) { found.emplace_back(*number, entry.path().string()); }
    }
    std::ranges::sort(found);
    std::vector<std::string> paths;
    paths.reserve(found.size());
    for (auto& [number, path] : found) { paths.push_back(std::move(path)); }
    return paths;
}

device_node::device_node(std::string path)
    : path_{std::move(path)}, fd_{::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK)} {
    if (!fd_) { fail(path_, "open", errno); }
}

int device_node::try_call(unsigned long request, void* argument) const noexcept {
    int result = 0;
    do { result = ::ioctl(fd_.get(), request, argument); } while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

void device_node::call(unsigned long request, void* argument, std::string_view name) const {
    if (const int error = try_call(request, argument); error != 0) { fail(path_, name, error); }
}

} // namespace devices
