// SPDX-License-Identifier: MIT
#include "results.hpp"

#include "support.hpp"

#include <doctest/doctest.h>

using namespace pipeline;

namespace {

const video_format format = test::format_of(4, 4);

void add_frame(results& made) {
    const std::vector<std::byte> frame(frame_bytes(format));
    made.video().write_frame(frame);
    if (made.sheet() != nullptr) { made.sheet()->add(0, frame, frame); }
}

} // namespace

TEST_CASE("a run leaves a video and a contact sheet") {
    const test::temporary_folder folder;
    results made{folder / "out.y4m", folder / "sheet.png", format, {}};
    add_frame(made);
    made.commit();
    CHECK(test::read_file(folder / "out.y4m").starts_with("YUV4MPEG2"));
    CHECK(test::read_file(folder / "sheet.png").starts_with("\x89PNG"));
    CHECK(folder.entries() == 2);
}

TEST_CASE("without a name there is no contact sheet") {
    const test::temporary_folder folder;
    results made{folder / "out.y4m", "", format, {}};
    add_frame(made);
    made.commit();
    CHECK(made.sheet() == nullptr);
    CHECK(folder.entries() == 1);
}

TEST_CASE("a contact sheet that cannot be opened is noticed before the work") {
    const test::temporary_folder folder;
    const auto open = [&] { results{folder / "out.y4m", folder / "missing/sheet.png", format, {}}; };
    CHECK(test::error_of(open) == std::errc::no_such_file_or_directory);
    CHECK(folder.entries() == 0);
}

TEST_CASE("when the contact sheet cannot be written, the video is there and the message says so") {
    const test::temporary_folder folder;
    results made{folder / "out.y4m", "/dev/full", format, {}};
    add_frame(made);
    CHECK(test::message_of([&] { made.commit(); }) ==
          "cannot write /dev/full: No space left on device; the video " + (folder / "out.y4m") + " is complete");
    CHECK(test::read_file(folder / "out.y4m").size() > frame_bytes(format));
}
