// SPDX-License-Identifier: MIT
#include "video_error.hpp"

#include <cerrno>

namespace pipeline {
namespace {

const char* text_of(video_errc code) noexcept {
    switch (code) {
    case video_errc::not_y4m: return "not a YUV4MPEG2 stream";
    case video_errc::bad_header: return "malformed YUV4MPEG2 header";
    case video_errc::bad_size: return "frame size missing or out of range";
    case video_errc::unsupported_colour: return "unsupported colour space";
    case video_errc::mixed_interlacing: return "frames of mixed interlacing are not supported";
    case video_errc::truncated_header: return "the stream ends inside its header";
    case video_errc::bad_frame_header: return "malformed frame header";
    case video_errc::truncated_frame: return "the stream ends inside a frame";
    case video_errc::no_frames: return "the video has no frames";
    case video_errc::tool_missing: return "a program is missing";
    case video_errc::tool_failed: return "a program failed";
    case video_errc::damaged: return "the input is damaged (--tolerate-damage takes what can be decoded)";
    }
    return "unknown video error";
}

class category final : public std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "video"; }
    [[nodiscard]] std::string message(int code) const override { return text_of(static_cast<video_errc>(code)); }
};

} // namespace

const std::error_category& video_category() noexcept {
    static const category instance;
    return instance;
}

std::error_code make_error_code(video_errc code) noexcept { return {static_cast<int>(code), video_category()}; }

void fail(video_errc code, const std::string& context) { throw std::system_error{make_error_code(code), context}; }

void fail_errno(const std::string& context) { throw std::system_error{errno, std::generic_category(), context}; }

} // namespace pipeline
