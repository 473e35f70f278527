// SPDX-License-Identifier: MIT
#pragma once
/// \file output_file.hpp  A file that appears under its name only when it is complete.

#include <dmasync/unique_fd.hpp>

#include <filesystem>
#include <stop_token>
#include <string>

namespace pipeline {

/// Writes to a temporary file beside the target; commit() moves it to its name, the destructor deletes it otherwise.
/// "-" is the standard output; it, devices, pipes and what is open already ("/dev/stdout") are written directly. A file
/// that is replaced hands its permissions on.
class output_file {
public:
    /// A named pipe is waited for until it has a reader, or a stop is requested: std::errc::operation_canceled.
    /// Throws std::system_error, also when the standard output is closed.
    explicit output_file(const std::string& path, const std::stop_token& stop = {});
    output_file(const output_file&) = delete;
    output_file& operator=(const output_file&) = delete;
    ~output_file();

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// What to call it in messages.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// Whether what is written appears at once, and nothing can be taken back.
    [[nodiscard]] bool is_direct() const noexcept { return target_.empty(); }
    /// Whether commit() has put it under its name.
    [[nodiscard]] bool is_complete() const noexcept { return complete_; }

    /// Brings the data to the disk, then the name to the data. Throws std::system_error; the target is then as it was.
    void commit();

private:
    void open_temporary();
    void publish();

    std::string name_;
    std::filesystem::path target_;    // symbolic links resolved: the rename must not replace a link
    std::filesystem::path temporary_; // invariant: empty, or a file to delete
    dmasync::unique_fd fd_;
    bool complete_ = false;
};

} // namespace pipeline
