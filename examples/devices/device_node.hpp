// SPDX-License-Identifier: MIT
#pragma once
/// \file device_node.hpp  An open device file, and calls of it that say what failed.

#include <dmasync/unique_fd.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace devices {

/// Throws std::system_error; its what() reads "device: call: message of the error".
[[noreturn]] void fail(const std::string& device, std::string_view call, int error);

/// The files of a folder whose names are `prefix` and a number, by that number: "/dev/video0", "/dev/video1", ...
[[nodiscard]] std::vector<std::string> numbered_files(const std::string& folder, std::string_view prefix);

/// Owns an open device file. Move-only.
class device_node {
public:
    /// Opens it for reading and writing; its reads do not block. Throws std::system_error.
    explicit device_node(std::string path);

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// An ioctl(2) that a signal does not end. Returns: 0, or what errno says.
    [[nodiscard]] int try_call(unsigned long request, void* argument) const noexcept;

    /// The same; throws std::system_error, with `name` as what was called.
    void call(unsigned long request, void* argument, std::string_view name) const;

private:
    std::string path_;
    dmasync::unique_fd fd_;
};

} // namespace devices
