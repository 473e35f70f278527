// SPDX-License-Identifier: MIT
#include "screenshot.hpp"

#include <fstream>
#include <ios>
#include <span>

namespace camera_to_display {
namespace {

constexpr std::size_t longest_side = 16384;
constexpr std::size_t bytes_per_pixel = 3;

/// Returns: whether there is a header that can be right.
bool read_header(std::istream& file, screenshot& shot) {
    std::string kind;
    unsigned highest = 0;
    file >> kind >> shot.width >> shot.height >> highest;
    file.get(); // the one white space between header and pixels
    return file && kind == "P6" && highest == 255 && shot.width <= longest_side && shot.height <= longest_side;
}

std::uint32_t pixel_of(std::span<const char> colours) noexcept {
    std::uint32_t pixel = 0;
    for (const char c : colours) { pixel = pixel << 8U | static_cast<unsigned char>(c); }
    return pixel;
}

} // namespace

std::optional<screenshot> read_screenshot(const std::string& file_name) {
    std::ifstream file{file_name, std::ios::binary};
    screenshot shot;
    if (!read_header(file, shot)) { return std::nullopt; }
    std::vector<char> bytes(shot.width * shot.height * bytes_per_pixel);
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) { return std::nullopt; }
    shot.pixels.reserve(shot.width * shot.height);
    for (std::size_t i = 0; i < bytes.size(); i += bytes_per_pixel) {
        shot.pixels.push_back(pixel_of(std::span{bytes}.subspan(i, bytes_per_pixel)));
    }
    return shot;
}

} // namespace camera_to_display
