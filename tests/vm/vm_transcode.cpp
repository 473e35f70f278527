// SPDX-License-Identifier: MIT
// The example with a converter, on converters.
#include <doctest/doctest.h>
#include <support/running_program.hpp>

#include <cstdio>
#include <string>

using support::running_program;

namespace {

const std::string program = EXAMPLE_PROGRAM;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("every picture comes out of the converter as it should, whatever the loop") {
    for (const bool epoll : {false, true}) {
        running_program p{program, epoll ? std::vector<std::string>{"--epoll"} : std::vector<std::string>{}};
        const auto outcome = p.wait();
        std::printf("%s", outcome.output.c_str());
        CHECK(outcome.exit_code == 0);
        CHECK(contains(outcome.output, "50 pictures converted as they should be, 0 otherwise"));
        CHECK(contains(outcome.output, "0 leases expired"));
    }
}

TEST_CASE("a converter that is not there is named") {
    running_program p{program, {"--converter", "nothing"}};
    const auto outcome = p.wait();
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.output, "open a device of driver nothing: No such device"));
}
