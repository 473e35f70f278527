// SPDX-License-Identifier: MIT
#include "output_file.hpp"

#include "destination.hpp"
#include "fd_io.hpp"
#include "video_error.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>
#include <thread>

namespace pipeline {
namespace fs = std::filesystem;
namespace {

constexpr mode_t permissions = 0666; // of a new file, less the umask

fs::path find_target(const std::string& path, const std::string& name) {
    try {
        return destination(path);
    } catch (const fs::filesystem_error& error) {
        throw std::system_error{error.code(), "cannot open " + name + " for writing"};
    }
}

/// Nothing when there is no such file.
std::optional<mode_t> permissions_of(const fs::path& file) noexcept {
    struct stat status {};
    return ::stat(file.c_str(), &status) == 0 ? std::optional{status.st_mode & 0777} : std::nullopt;
}

/// Whether the target is something a rename would replace instead of writing to it: a device or a pipe.
bool is_special(const fs::path& target) {
    std::error_code ignored; // what cannot be examined cannot be opened either, and that says why
    const fs::file_status status = fs::status(target, ignored);
    return fs::exists(status) && !fs::is_regular_file(status);
}

/// Returns -1 with errno on failure.
int open_special(const std::string& path, const std::string& name, const std::stop_token& stop) {
    using namespace std::chrono_literals;
    for (;;) {
        throw_if_stopped(stop, name);
        const int fd = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK); } // ours alone: it was opened here
        if (fd >= 0 || errno != ENXIO || !fs::is_fifo(path)) { return fd; }
        std::this_thread::sleep_for(20ms); // it has no reader yet
    }
}

void sync_folder(const fs::path& folder, const std::string& name) {
    const dmasync::unique_fd fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd || ::fsync(fd.get()) != 0) { fail_errno("cannot write the folder of " + name); }
}

} // namespace

output_file::output_file(const std::string& path, const std::stop_token& stop)
    : name_{path == "-" ? "standard output" : path} {
    if (const std::optional<int> inherited = inherited_descriptor(path)) {
        fd_.reset(::fcntl(*inherited, F_DUPFD_CLOEXEC, 0));
    } else if (is_special(path)) {
        fd_.reset(open_special(path, name_, stop));
    } else {
        target_ = find_target(path, name_);
        open_temporary();
    }
    if (!fd_) { fail_errno("cannot open " + name_ + " for writing"); }
}

output_file::~output_file() {
    if (!temporary_.empty()) { ::unlink(temporary_.c_str()); }
}

void output_file::commit() {
    if (!temporary_.empty()) { publish(); }
    complete_ = true;
}

void output_file::publish() {
    if (::fsync(fd_.get()) != 0 || ::close(fd_.release()) != 0) { fail_errno("cannot write " + name_); }
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) { fail_errno("cannot write " + name_); }
    temporary_.clear();
    sync_folder(target_.parent_path(), name_);
}

/// Leaves fd_ empty and errno set on failure.
void output_file::open_temporary() {
    const std::string stem = ".dmasync-" + std::to_string(::getpid()) + '-';
    const std::optional<mode_t> kept = permissions_of(target_);
    for (int attempt = 0;; ++attempt) {
        const fs::path candidate = target_.parent_path() / (stem + std::to_string(attempt));
        fd_.reset(::open(candidate.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kept.value_or(permissions)));
        if (fd_) { temporary_ = candidate; }
        if (fd_ && kept) { ::fchmod(fd_.get(), *kept); } // what the umask has taken away
        if (fd_ || errno != EEXIST) { return; }
    }
}

} // namespace pipeline
