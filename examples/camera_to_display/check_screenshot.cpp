// SPDX-License-Identifier: MIT
// Is a screenshot of the camera_to_display example of one frame, or of parts of several? Reads the stamp in it.
#include "picture.hpp"
#include "stamp.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace camera_to_display;

namespace {

struct screenshot {
    std::vector<std::uint32_t> pixels;
    std::size_t width = 0;
    std::size_t height = 0;

    [[nodiscard]] pixel_view<const std::uint32_t> view() const noexcept {
        return {pixels.data(), width, height, width};
    }
};

/// Reads a binary PPM without comments, as QEMU writes it.
std::optional<screenshot> read_screenshot(const std::string& name) {
    std::ifstream file{name, std::ios::binary};
    std::string kind;
    std::size_t highest = 0;
    screenshot shot;
    file >> kind >> shot.width >> shot.height >> highest;
    file.get(); // the one white space after the header
    constexpr std::size_t longest = 16384;
    if (!file || kind != "P6" || highest != 255 || shot.width > longest || shot.height > longest) {
        return std::nullopt;
    }
    std::vector<char> bytes(shot.width * shot.height * 3);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file) { return std::nullopt; }
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t pixel = 0;
        for (const char c : std::span{bytes}.subspan(i, 3)) { pixel = pixel << 8U | static_cast<unsigned char>(c); }
        shot.pixels.push_back(pixel);
    }
    return shot;
}

/// Returns: whether the file is the picture of one whole frame.
bool check(const char* name) {
    const auto shot = read_screenshot(name);
    if (!shot) { return std::printf("%s: cannot be read as a PPM\n", name), false; }
    const auto found = read_stamp(shot->view());
    if (!found) { return std::printf("%s: no stamp\n", name), false; }
    const bool whole = checksum_of(shot->view(), found->number) == found->checksum;
    std::printf("%s: frame %u, %s\n", name, found->number, whole ? "whole" : "torn");
    return whole;
}

} // namespace

int main(int argc, char** argv) {
    const std::span names{argv + 1, static_cast<std::size_t>(argc - 1)};
    if (names.empty()) { return std::fputs("usage: dmasync_check_screenshot FILE.ppm...\n", stderr), 2; }
    bool all_whole = true;
    for (const char* name : names) { all_whole = check(name) && all_whole; }
    return all_whole ? 0 : 1;
}
