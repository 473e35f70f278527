// SPDX-License-Identifier: MIT
#include "reference.hpp"

#include "output_file.hpp"
#include "support.hpp"

#include <support/skip.hpp>

#include <doctest/doctest.h>

using namespace pipeline;

namespace {

/// Replaces the search path of programs while it lives.
class search_path {
public:
    explicit search_path(const std::string& folders) : saved_{std::getenv("PATH")} {
        ::setenv("PATH", folders.c_str(), 1);
    }
    ~search_path() { ::setenv("PATH", saved_.c_str(), 1); }

private:
    std::string saved_;
};

/// A program called ffmpeg in `folder` that does what `script` says.
void fake_ffmpeg(const test::temporary_folder& folder, const std::string& script) {
    test::write_file(folder / "ffmpeg", "#!/bin/sh\n" + script + "\n");
    std::filesystem::permissions(folder / "ffmpeg", std::filesystem::perms::owner_all);
}

std::uint64_t count_frames(const std::string& path, on_damage what = on_damage::fail) {
    video_input input{path, {}, what};
    std::vector<std::byte> frame(frame_bytes(input.format()));
    while (input.read_frame(frame)) {}
    return input.frames_read();
}

std::error_code error_in(const std::string& path) {
    return test::error_of([&] { count_frames(path); });
}

} // namespace

TEST_CASE("a YUV4MPEG2 file needs no ffmpeg, whatever it is called") {
    const test::temporary_folder folder;
    const search_path nothing{folder.path().string()};
    test::write_file(folder / "a.y4m", test::stream_of(test::format_of(4, 4), 3));
    test::write_file(folder / "b.video", test::stream_of(test::format_of(4, 4), 3));
    CHECK(count_frames(folder / "a.y4m") == 3);
    CHECK(count_frames(folder / "b.video") == 3);
}

TEST_CASE("the number of frames is known from a file's size") {
    const test::temporary_folder folder;
    test::write_file(folder / "a.y4m", test::stream_of(test::format_of(64, 64), 10));
    CHECK(video_input{folder / "a.y4m"}.frames_expected() == 10);
}

TEST_CASE("a file that is too short for its first frame is refused before room is made for the frame") {
    const test::temporary_folder folder;
    test::write_file(folder / "a.y4m", "YUV4MPEG2 W16384 H16384\nFRAME\n...");
    test::write_file(folder / "b.y4m", "YUV4MPEG2 W16384 H16384\n");
    CHECK(test::error_of([&] { video_input{folder / "a.y4m"}; }) == video_errc::truncated_frame);
    CHECK(test::error_of([&] { video_input{folder / "b.y4m"}; }) == video_errc::no_frames);
}

TEST_CASE("a video without frames is an error") {
    const test::temporary_folder folder;
    test::write_file(folder / "a.y4m", test::stream_of(test::format_of(4, 4), 0));
    CHECK(error_in(folder / "a.y4m") == video_errc::no_frames);
}

TEST_CASE("a file called .y4m that is something else is refused") {
    const test::temporary_folder folder;
    test::write_file(folder / "a.y4m", "RIFF");
    CHECK(error_in(folder / "a.y4m") == video_errc::not_y4m);
}

TEST_CASE("a compressed file is refused with the command that helps") {
    const test::temporary_folder folder;
    test::write_file(folder / "a film.y4m.gz", "\x1f\x8b...");
    CHECK(error_in(folder / "a film.y4m.gz") == video_errc::not_y4m);
    const std::string message = test::message_of([&] { count_frames(folder / "a film.y4m.gz"); });
    CHECK(message.find("gunzip -c '" + (folder / "a film.y4m.gz") + "' | dmasync_pipeline - ...") != message.npos);
}

TEST_CASE("a file that does not exist is an error that names it") {
    const test::temporary_folder folder;
    CHECK(error_in(folder / "none.y4m") == std::errc::no_such_file_or_directory);
    CHECK(test::message_of([&] { count_frames(folder / "none.y4m"); }).find("none.y4m") != std::string::npos);
}

TEST_CASE("without ffmpeg another format is an error that names the package") {
    const test::temporary_folder folder;
    const search_path nothing{folder.path().string()};
    test::write_file(folder / "a.mp4", "not video");
    CHECK(error_in(folder / "a.mp4") == video_errc::tool_missing);
    CHECK(test::message_of([&] { count_frames(folder / "a.mp4"); }).find("package ffmpeg") != std::string::npos);
}

TEST_CASE("another format is what ffmpeg makes of it") {
    const test::temporary_folder folder;
    test::write_file(folder / "stream", test::stream_of(test::format_of(4, 4), 5));
    test::write_file(folder / "it's $(odd).mp4", "whatever");
    fake_ffmpeg(folder, "exec /bin/cat '" + (folder / "stream") + "'");
    const search_path fake{folder.path().string()};
    CHECK(count_frames(folder / "it's $(odd).mp4") == 5);
}

TEST_CASE("an ffmpeg that fails after its last frame is reported") {
    const test::temporary_folder folder;
    test::write_file(folder / "stream", test::stream_of(test::format_of(4, 4), 5));
    test::write_file(folder / "a.mp4", "whatever");
    fake_ffmpeg(folder, "/bin/cat '" + (folder / "stream") + "'; exit 3");
    const search_path fake{folder.path().string()};
    CHECK(error_in(folder / "a.mp4") == video_errc::tool_failed);
    CHECK(test::message_of([&] { count_frames(folder / "a.mp4"); }).find("exit status 3") != std::string::npos);
}

TEST_CASE("an ffmpeg that fails at once is the cause, not the missing header") {
    const test::temporary_folder folder;
    test::write_file(folder / "a.mp4", "whatever");
    fake_ffmpeg(folder, "exit 1");
    const search_path fake{folder.path().string()};
    CHECK(error_in(folder / "a.mp4") == video_errc::tool_failed);
}

TEST_CASE("an ffmpeg that succeeds with complaints has found the input damaged, and its words are told") {
    const test::temporary_folder folder;
    test::write_file(folder / "stream", test::stream_of(test::format_of(4, 4), 5));
    test::write_file(folder / "a.mp4", "whatever");
    fake_ffmpeg(folder,
                "echo 'error while decoding MB 17' >&2; echo more >&2; exec /bin/cat '" + (folder / "stream") + "'");
    const search_path fake{folder.path().string()};
    CHECK(error_in(folder / "a.mp4") == video_errc::damaged);
    const std::string message = test::message_of([&] { count_frames(folder / "a.mp4"); });
    CHECK(message.find("a.mp4 (exit status 0): error while decoding MB 17; more: the input is damaged") !=
          std::string::npos);
    CHECK(count_frames(folder / "a.mp4", on_damage::tolerate) == 5);
}

TEST_CASE("the real ffmpeg reports a damaged film, unless that is tolerated") {
    const test::temporary_folder folder;
    test::write_file(folder / "whole.y4m", test::stream_of(test::format_of(64, 48), 30));
    const std::string encode = "ffmpeg -nostdin -v error -i '" + (folder / "whole.y4m") + "' -c:v mpeg2video -q:v 2 '" +
                               (folder / "film.ts") + "' 2>/dev/null";
    if (std::system(encode.c_str()) != 0) {
        support::report_skip("damaged films: there is no ffmpeg");
        return;
    }
    CHECK(count_frames(folder / "film.ts") == 30);
    std::string film = test::read_file(folder / "film.ts");
    for (std::size_t at = film.size() / 3; at < film.size() / 2; at += 97) { film[at] = static_cast<char>(~film[at]); }
    test::write_file(folder / "film.ts", film);
    CHECK(error_in(folder / "film.ts") == video_errc::damaged);
    CHECK(count_frames(folder / "film.ts", on_damage::tolerate) > 0);
}

TEST_CASE("an ffmpeg that is not read to its end is ended") {
    const test::temporary_folder folder;
    test::write_file(folder / "stream", test::stream_of(test::format_of(4, 4), 5));
    test::write_file(folder / "a.mp4", "whatever");
    fake_ffmpeg(folder, "/bin/cat '" + (folder / "stream") + "'; exec /bin/sleep 1000");
    const search_path fake{folder.path().string()};
    const video_input input{folder / "a.mp4"};
    CHECK(input.format().width == 4);
}

TEST_CASE("the reference writes a frame for each it reads, and shows both") {
    const test::temporary_folder folder;
    const video_format format = test::format_of(33, 17);
    test::write_file(folder / "in.y4m", test::stream_of(format, 4));
    output_file file{folder / "out.y4m"};
    video_input input{folder / "in.y4m"};
    y4m_writer writer{file.fd(), file.name(), input.format()};
    std::uint64_t seen = 0;
    const std::uint64_t frames = run_reference(
        input, writer, [&](std::uint64_t number, std::span<const std::byte> source, std::span<const std::byte> result) {
            CHECK(number == seen++);
            CHECK(source.size() == result.size());
        });
    file.commit();
    CHECK(frames == 4);
    CHECK(seen == 4);
    CHECK(count_frames(folder / "out.y4m") == 4);
}

TEST_CASE("the example clip is a whole video") {
    const test::temporary_folder folder;
    REQUIRE(std::system(("gunzip -c '" EXAMPLE_CLIP "' > '" + (folder / "clip.y4m") + "'").c_str()) == 0);
    CHECK(count_frames(folder / "clip.y4m") == 54);
}
