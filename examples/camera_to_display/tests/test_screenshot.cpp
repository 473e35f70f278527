// SPDX-License-Identifier: MIT
#include "screenshot.hpp"

#include "test_picture.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string>

#include <unistd.h>

using namespace camera_to_display;

namespace {

/// A file that goes away.
class temporary_file {
public:
    explicit temporary_file(const std::string& content)
        : name_{(std::filesystem::temp_directory_path() / ("screenshot-" + std::to_string(::getpid()))).string()} {
        std::ofstream{name_, std::ios::binary} << content;
    }
    temporary_file(const temporary_file&) = delete;
    temporary_file& operator=(const temporary_file&) = delete;
    ~temporary_file() { std::filesystem::remove(name_); }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    std::string name_;
};

std::string ppm_of(const test::picture& p) {
    std::string text = "P6\n" + std::to_string(p.width) + ' ' + std::to_string(p.height) + "\n255\n";
    for (std::size_t y = 0; y < test::picture::height; ++y) {
        for (const std::uint32_t pixel : p.look().line(y)) {
            for (const unsigned shift : {16U, 8U, 0U}) { text += static_cast<char>(pixel >> shift & 0xffU); }
        }
    }
    return text;
}

} // namespace

TEST_CASE("a screenshot has the stamp and the checksum of the picture it was taken of") {
    test::picture p;
    draw_stamp(p.view(), 99);
    const temporary_file file{ppm_of(p)};
    const auto shot = read_screenshot(file.name());
    REQUIRE(shot);
    const auto found = read_stamp(shot->view());
    REQUIRE(found);
    CHECK(found->number == 99);
    CHECK(found->checksum == checksum_of(shot->view(), 99));
}

TEST_CASE("a file that is no such picture, or ends too soon, is no screenshot") {
    std::string whole = ppm_of({});
    whole.pop_back();
    for (const std::string& content :
         {std::string{}, std::string{"P5\n1 1\n255\n."}, std::string{"P6\n1 1\n65535\n......"},
          std::string{"P6\n99999999 99999999\n255\n"}, whole}) {
        const temporary_file file{content};
        CHECK_FALSE(read_screenshot(file.name()));
    }
    CHECK_FALSE(read_screenshot("/no/such/file"));
}
