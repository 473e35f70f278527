// SPDX-License-Identifier: MIT
#include <dmasync/name.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace dmasync;

TEST_CASE("a name is a copy of the text") {
    std::string text = "camera";
    const name n{std::string_view{text}};
    text = "screen";
    CHECK(n.view() == "camera");
}

TEST_CASE("a name without text is empty") {
    CHECK(name{}.empty());
    CHECK(name{""}.empty());
    CHECK(name{}.view().empty());
}

TEST_CASE("a name keeps 31 bytes, and no more") {
    const std::string exact(name::max_size, 'x');
    CHECK(name{std::string_view{exact}}.view() == exact);
    CHECK(name{std::string_view{exact + "y"}}.view() == exact);
}
