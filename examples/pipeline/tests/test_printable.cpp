// SPDX-License-Identifier: MIT
#include "printable.hpp"

#include <doctest/doctest.h>

using namespace pipeline;

TEST_CASE("text that is fit for a terminal stays as it is") {
    for (const std::string text : {"", "plain text!", "\u00fc\u20ac\U0001f3ac"}) { CHECK(printable(text) == text); }
}

TEST_CASE("control characters and what is no UTF-8 are escaped") {
    CHECK(printable("a\x1b[31m\n\x7f") == "a\\x1b[31m\\x0a\\x7f");
    CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");   // a control character of Latin-1
    CHECK(printable("\xff\xc3") == "\\xff\\xc3");   // no byte of UTF-8; a sequence that ends too early
    CHECK(printable("\xc3-\x80") == "\\xc3-\\x80"); // a sequence that is interrupted
    CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");   // longer than it need be
}

TEST_CASE("a word for a shell is quoted when it has to be") {
    CHECK(shell_word("films/a-1.y4m") == "films/a-1.y4m");
    CHECK(shell_word("my film") == "'my film'");
    CHECK(shell_word("it's") == "'it'\\''s'");
    CHECK(shell_word("") == "''");
}
