// SPDX-License-Identifier: MIT
#pragma once
/// \file support.hpp  Files, streams and frames to test with.

#include "fd_io.hpp"
#include "video_error.hpp"
#include "video_format.hpp"

#include <dmasync/unique_fd.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace test {

/// An empty folder that goes away with its content.
class temporary_folder {
public:
    temporary_folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "pipeline-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) { pipeline::fail_errno("mkdtemp"); }
        path_ = pattern;
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    [[nodiscard]] std::size_t entries() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{path_}, {}));
    }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

inline void write_file(const std::string& path, std::string_view content) {
    std::ofstream{path, std::ios::binary} << content;
}

inline std::string read_file(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// A pipe into which a thread writes `content` in pieces of `piece` bytes.
class slow_pipe {
public:
    slow_pipe(std::string content, std::size_t piece) {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) { pipeline::fail_errno("pipe2"); }
        read_end_.reset(ends[0]);
        writer_ = std::jthread{[content = std::move(content), piece, end = dmasync::unique_fd{ends[1]}] {
            for (std::size_t at = 0; at < content.size(); at += piece) {
                pipeline::write_all(end.get(), std::as_bytes(std::span{std::string_view{content}.substr(at, piece)}),
                                    "pipe");
            }
        }};
    }
    [[nodiscard]] int fd() const noexcept { return read_end_.get(); }

private:
    dmasync::unique_fd read_end_;
    std::jthread writer_; // joined before the read end closes: the writer must be read to its end
};

/// An unnamed file with `content`, to be read from its beginning.
inline dmasync::unique_fd file_with(std::string_view content) {
    const temporary_folder folder;
    write_file(folder / "content", content);
    return dmasync::unique_fd{::open((folder / "content").c_str(), O_RDONLY | O_CLOEXEC)};
}

/// The code `action` throws; an empty one if it throws nothing.
template <class Action>
std::error_code error_of(Action action) {
    try {
        action();
    } catch (const std::system_error& error) { return error.code(); }
    return {};
}

template <class Action>
std::string message_of(Action action) {
    try {
        action();
    } catch (const std::exception& error) { return error.what(); }
    return {};
}

inline pipeline::video_format format_of(std::size_t width, std::size_t height,
                                        pipeline::colour_space colour = pipeline::colour_space::yuv420jpeg) {
    pipeline::video_format format;
    format.width = width;
    format.height = height;
    format.colour = colour;
    return format;
}

inline std::vector<std::byte> noise(std::size_t size, unsigned seed) {
    std::mt19937 random{seed};
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) { byte = static_cast<std::byte>(random() & 0xff); }
    return bytes;
}

inline std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A stream of `frames` frames of noise, each different.
inline std::string stream_of(const pipeline::video_format& format, unsigned frames) {
    std::string stream = pipeline::stream_header(format) + '\n';
    for (unsigned i = 0; i < frames; ++i) { stream += "FRAME\n" + text_of(noise(pipeline::frame_bytes(format), i)); }
    return stream;
}

} // namespace test
