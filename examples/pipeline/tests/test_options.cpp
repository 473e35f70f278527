// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

using namespace pipeline;

namespace {

options parse(const std::vector<const char*>& words) { return parse_options(words); }

std::string refusal(const std::vector<const char*>& words) {
    return test::message_of([&] { static_cast<void>(parse(words)); });
}

} // namespace

TEST_CASE("a command line names input and output") {
    const options chosen = parse({"in.y4m", "-"});
    CHECK(chosen.input == "in.y4m");
    CHECK(chosen.output == "-");
    CHECK(chosen.contact_sheet.empty());
    CHECK(chosen.traces.empty());
    CHECK(!chosen.frames_total);
    CHECK(!chosen.stall);
    CHECK(chosen.lease == dmasync::default_lease);
}

TEST_CASE("options may stand anywhere") {
    const options chosen = parse({"--stall", "0", "in", "--contact-sheet", "s.png", "out", "--lease", "200",
                                  "--frames-total", "54", "--epoll", "--tolerate-damage"});
    CHECK(chosen.output == "out");
    CHECK(chosen.contact_sheet == "s.png");
    CHECK(chosen.stall == 0U);
    CHECK(chosen.frames_total == 54U);
    CHECK(chosen.lease == std::chrono::milliseconds{200});
    CHECK(chosen.epoll);
    CHECK(chosen.damage == on_damage::tolerate);
}

TEST_CASE("a trace may be asked for in each form") {
    CHECK(parse({"in", "out", "--trace", "t.html", "--trace=t.json"}).traces ==
          std::vector<std::string>{"t.html", "t.json"});
    CHECK(refusal({"in", "out", "--trace", "t.svg"}) == "--trace takes a file that ends in .html or .json");
}

TEST_CASE("a value may be attached to its option") {
    CHECK(parse({"in", "out", "--contact-sheet=a=b.png"}).contact_sheet == "a=b.png");
    CHECK(parse({"in", "out", "--stall=7"}).stall == 7U);
    CHECK(refusal({"in", "out", "--epoll=yes"}) == "--epoll takes no value");
}

TEST_CASE("after -- come files, whatever they are called") {
    const options chosen = parse({"--epoll", "--", "--in=1", "--"});
    CHECK(chosen.input == "--in=1");
    CHECK(chosen.output == "--");
}

TEST_CASE("help needs no files") { CHECK(parse({"--help"}).help); }

TEST_CASE("a wrong command line is refused with the reason") {
    CHECK(refusal({}) == "there must be one INPUT and one OUTPUT");
    CHECK(refusal({"in"}) == "there must be one INPUT and one OUTPUT");
    CHECK(refusal({"in", "out", "more"}) == "there must be one INPUT and one OUTPUT");
    CHECK(refusal({"in", ""}) == "there must be one INPUT and one OUTPUT");
    CHECK(refusal({"in", "out", "--fast"}) == "unknown option --fast");
    CHECK(refusal({"in", "out", "--contact-sheet", ""}) == "--contact-sheet needs the name of a file");
    CHECK(refusal({"in", "out", "--contact-sheet="}) == "--contact-sheet needs the name of a file");
    CHECK(refusal({"in", "out", "--lease"}) == "--lease needs a value");
    CHECK(refusal({"in", "out", "--stall", "-1"}) == "--stall: -1 is not a number");
    CHECK(refusal({"in", "out", "--frames-total", "5x"}) == "--frames-total: 5x is not a number");
    CHECK(refusal({"in", "out", "--lease", "0"}).starts_with("--lease takes 1 to"));
    CHECK(refusal({"in", "out", "--lease", "99999999999999999999"}).ends_with("is not a number"));
}
