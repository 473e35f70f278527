// SPDX-License-Identifier: MIT
/// The program as its user meets it: exit codes, messages, and the files it leaves.
#include "program.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace pipeline;
using namespace std::chrono_literals;

namespace {

const std::string small_video = test::stream_of(test::format_of(64, 48), 20);

/// A folder with an input, and what a failed run must leave of it: nothing more.
struct fixture {
    test::temporary_folder folder;
    std::string in = folder / "in.y4m";
    std::string out = folder / "out.y4m";

    explicit fixture(std::string_view content = small_video) { test::write_file(in, content); }

    /// Runs it on the input; expects a failure with this in its message, and no file but the input.
    void fails_with(const std::string& message) const {
        const test::outcome result = test::program{{in, out}}.wait();
        INFO(result.messages);
        CHECK(result.exit_code == 1);
        CHECK(result.messages.find(message) != std::string::npos);
        CHECK(folder.entries() == 1);
    }
};

/// Waits until the messages of a program have a text. Returns: them; without it after ten seconds.
std::string messages_with(const std::string& file, std::string_view text) {
    std::string messages;
    for (int i = 0; i < 1000 && messages.find(text) == std::string::npos; ++i) {
        std::this_thread::sleep_for(10ms);
        messages = test::read_file(file);
    }
    return messages;
}

bool has_input(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 100) > 0 && (entry.revents & POLLIN) != 0;
}

std::string with_header(const std::string& header) { return header + "\nFRAME\n" + std::string(100, 'x'); }

} // namespace

TEST_CASE("a run ends with a summary and leaves the video and the contact sheet") {
    const fixture f;
    const test::outcome result = test::program{{f.in, f.out, "--contact-sheet", f.folder / "sheet.png"}}.wait();
    CHECK(result.exit_code == 0);
    CHECK(result.messages.find("20 frames in ") != std::string::npos);
    CHECK(result.messages.find(" sets of frames locked, up to ") != std::string::npos);
    CHECK(result.messages.find("event loops on both threads: ") != std::string::npos);
    CHECK(test::read_file(f.out).size() > small_video.size() / 2);
    CHECK(f.folder.entries() == 3);
}

TEST_CASE("a run leaves the traces that it is asked for") {
    const fixture f;
    const test::outcome result =
        test::program{{f.in, f.out, "--trace", f.folder / "t.html", "--trace", f.folder / "t.json"}}.wait();
    CHECK(result.exit_code == 0);
    CHECK(test::read_file(f.folder / "t.html").starts_with("<!DOCTYPE html>"));
    CHECK(test::read_file(f.folder / "t.json").starts_with("{"));
    CHECK(f.folder.entries() == 4);
}

TEST_CASE("a run that fails leaves the trace of what it did before, and nothing else") {
    const fixture f{std::string_view{small_video}.substr(0, small_video.size() - 100)};
    const test::outcome result = test::program{{f.in, f.out, "--trace", f.folder / "t.html"}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(test::read_file(f.folder / "t.html").find("denoise") != std::string::npos);
    CHECK(f.folder.entries() == 2);
}

TEST_CASE("a trace that cannot be opened is noticed before the work") {
    const fixture f;
    const test::outcome result = test::program{{f.in, f.out, "--trace", f.folder / "missing/t.html"}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(f.folder.entries() == 1);
}

TEST_CASE("a video goes from standard input to standard output") {
    const fixture f;
    CHECK(test::program{{f.in, f.out}}.wait().exit_code == 0);
    const test::outcome result = test::program{{"-", "-"}, {.input = f.in, .output = f.folder / "captured"}}.wait();
    CHECK(result.exit_code == 0);
    CHECK_UNARY(test::read_file(f.folder / "captured") == test::read_file(f.out));
}

TEST_CASE("a stalled stage is reported, and the video is what it would have been") {
    const fixture f;
    CHECK(test::program{{f.in, f.out}}.wait().exit_code == 0);
    const std::string again = f.folder / "again.y4m";
    const test::outcome result = test::program{{f.in, again, "--stall", "5", "--lease", "300"}}.wait();
    CHECK(result.exit_code == 0);
    CHECK(result.messages.find("lease expired: set 'denoise'") != std::string::npos);
    CHECK(result.messages.find("1 lease expired") != std::string::npos);
    CHECK_UNARY(test::read_file(again) == test::read_file(f.out));
}

TEST_CASE("broken videos are refused, and leave nothing behind") {
    fixture{small_video.substr(0, small_video.size() - 1)}.fails_with("the stream ends inside a frame");
    fixture{small_video.substr(0, 12)}.fails_with("the stream ends inside its header");
    fixture{small_video.substr(0, small_video.find('\n') + 3)}.fails_with("the stream ends inside a frame");
    fixture{small_video.substr(0, small_video.find('\n') + 1)}.fails_with("the video has no frames");
    fixture{""}.fails_with("not a YUV4MPEG2 stream");
    fixture{"RIFF....AVI "}.fails_with("not a YUV4MPEG2 stream");
    fixture{with_header("YUV4MPEG2 W64 Hx")}.fails_with("parameter Hx");
    fixture{with_header("YUV4MPEG2 W64 H48 Fx")}.fails_with("malformed YUV4MPEG2 header");
    fixture{with_header("YUV4MPEG2 W64 H48 C420p10")}.fails_with("unsupported colour space");
    fixture{with_header("YUV4MPEG2 W99999999 H48")}.fails_with("frame size missing or out of range");
    fixture{with_header("YUV4MPEG2 W0 H0")}.fails_with("frame size missing or out of range");
    fixture{with_header("YUV4MPEG2 W64")}.fails_with("frame size missing or out of range");
}

TEST_CASE("a file that a failed run would have replaced stays as it was") {
    const fixture f{small_video.substr(0, small_video.size() - 1)};
    test::write_file(f.out, "precious");
    CHECK(test::program{{f.in, f.out}}.wait().exit_code == 1);
    CHECK(test::read_file(f.out) == "precious");
}

TEST_CASE("input that cannot be opened is reported") {
    const test::temporary_folder folder;
    const std::string missing = folder / "missing.y4m";
    const test::outcome result = test::program{{missing, folder / "out.y4m"}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.messages == "dmasync_pipeline: cannot open " + missing + ": No such file or directory\n");
    CHECK(folder.entries() == 0);
}

TEST_CASE("other videos need ffmpeg, and its absence is explained") {
    const test::temporary_folder folder;
    test::write_file(folder / "film.mkv", "no YUV4MPEG2");
    const test::outcome result =
        test::program{{folder / "film.mkv", folder / "out.y4m"}, {.environment = {"PATH=/nonexistent"}}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.messages.find("ffmpeg") != std::string::npos);
    CHECK(folder.entries() == 1);
}

TEST_CASE("a closed standard output is reported") {
    const fixture f;
    const test::outcome result = test::program{{f.in, "-"}, {.output = test::closed}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.messages.find("standard output: Bad file descriptor") != std::string::npos);
}

TEST_CASE("with a closed standard error the messages do not end up in the video") {
    const fixture f;
    CHECK(test::program{{f.in, f.out}}.wait().exit_code == 0);
    const std::string quiet = f.folder / "quiet.y4m";
    CHECK(test::program{{f.in, quiet}, {.messages = test::closed}}.wait().exit_code == 0);
    CHECK_UNARY(test::read_file(quiet) == test::read_file(f.out));
}

TEST_CASE("a full disk is reported") {
    const fixture f;
    const test::outcome result = test::program{{f.in, "/dev/full"}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.messages == "dmasync_pipeline: cannot write /dev/full: No space left on device\n");
}

TEST_CASE("a file that may not grow any more is reported, and leaves nothing behind") {
    const fixture f;
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{16'384, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small); // children inherit it
    const test::outcome result = test::program{{f.in, f.out}}.wait();
    ::setrlimit(RLIMIT_FSIZE, &before);
    CHECK(result.exit_code == 1);
    CHECK(result.messages == "dmasync_pipeline: cannot write " + f.out + ": File too large\n");
    CHECK(f.folder.entries() == 1);
}

TEST_CASE("a reader that goes away is reported") {
    const fixture f;
    const std::string fifo = f.folder / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    dmasync::unique_fd reader{::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    test::program run{{f.in, "-"}, {.output = fifo}};
    while (!has_input(reader.get())) {} // now it writes, and the pipe has no room for all
    reader.reset();
    const test::outcome result = run.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.messages.find("standard output: Broken pipe") != std::string::npos);
}

TEST_CASE("a signal ends a run that waits for input, and leaves nothing behind") {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
        const fixture f;
        const std::string fifo = f.folder / "fifo";
        REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
        const dmasync::unique_fd writer{::open(fifo.c_str(), O_RDWR | O_CLOEXEC)};
        write_all(writer.get(), std::as_bytes(std::span{std::string_view{small_video}.substr(0, 50'000)}), "fifo");
        test::program run{{"-", f.out}, {.input = fifo}};
        while (f.folder.entries() < 3) { std::this_thread::sleep_for(1ms); } // input, fifo, temporary file
        run.send(signal);
        const test::outcome result = run.wait();
        CHECK(result.exit_code == 128 + signal);
        CHECK(result.messages == "dmasync_pipeline: interrupted; nothing was written\n");
        CHECK(f.folder.entries() == 2);
    }
}

TEST_CASE("a signal ends a run whose output is not taken") {
    const fixture f;
    const std::string fifo = f.folder / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    const dmasync::unique_fd both{::open(fifo.c_str(), O_RDWR | O_CLOEXEC)};
    test::program run{{f.in, "-"}, {.output = fifo}};
    std::array<std::byte, 1> first{};
    CHECK(read_full(both.get(), first, "fifo") == 1); // it has begun to write; the pipe has no room for all
    run.send(SIGTERM);
    const test::outcome result = run.wait();
    CHECK(result.exit_code == 128 + SIGTERM);
    CHECK(result.messages == "dmasync_pipeline: interrupted; standard output is incomplete\n");
}

TEST_CASE("a signal ends a run whose output or contact sheet is a named pipe that is never opened") {
    const fixture f;
    const std::string fifo = f.folder / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    for (const auto& words :
         std::vector<std::vector<std::string>>{{f.in, fifo}, {f.in, f.out, "--contact-sheet", fifo}}) {
        test::program run{words};
        run.interrupt(SIGTERM);
        CHECK(run.wait().exit_code == 128 + SIGTERM);
        CHECK(f.folder.entries() == 2);
    }
}

TEST_CASE("a named pipe gets the video once it is opened") {
    const fixture f;
    CHECK(test::program{{f.in, f.out}}.wait().exit_code == 0);
    const std::string fifo = f.folder / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    test::program run{{f.in, fifo}};
    std::this_thread::sleep_for(50ms);
    CHECK_UNARY(test::read_file(fifo) == test::read_file(f.out));
    CHECK(run.wait().exit_code == 0);
}

TEST_CASE("a signal ends a run whose ffmpeg hangs, and leaves nothing behind") {
    const fixture f;
    const test::temporary_folder tools;
    test::write_file(tools / "ffmpeg", "#!/bin/sh\n/usr/bin/head -c 20000 '" + f.in + "'; exec /bin/sleep 1000\n");
    std::filesystem::permissions(tools / "ffmpeg", std::filesystem::perms::owner_all);
    test::write_file(f.folder / "film.mkv", "whatever");
    test::program run{{f.folder / "film.mkv", f.out}, {.environment = {"PATH=" + tools.path().string()}}};
    while (f.folder.entries() < 3) { std::this_thread::sleep_for(1ms); } // both inputs and the temporary file
    run.send(SIGTERM);
    CHECK(run.wait().exit_code == 128 + SIGTERM);
    CHECK(f.folder.entries() == 2);
}

TEST_CASE("a wrong command line is explained") {
    const test::outcome result = test::program{{"--fast"}}.wait();
    CHECK(result.exit_code == 2);
    CHECK(result.messages == "dmasync_pipeline: unknown option --fast (--help says more)\n");
}

TEST_CASE("files that are one are refused before any work, and stay as they were") {
    const fixture f;
    test::write_file(f.out, "precious");
    std::filesystem::create_hard_link(f.in, f.folder / "hard link");
    std::filesystem::create_symlink("in.y4m", f.folder / "soft link");
    const std::string detour = f.folder.path().string() + "/../" + f.folder.path().filename().string() + "/out.y4m";
    const std::string unborn = f.folder / "new";
    std::filesystem::create_symlink("new", f.folder / "link to new");
    for (const auto& words : std::vector<std::vector<std::string>>{
             {f.in, f.in},
             {f.in, f.folder / "hard link"},
             {f.in, f.folder / "soft link"},
             {f.in, f.out, "--contact-sheet", f.in},
             {f.in, f.out, "--contact-sheet", f.out},
             {f.in, f.out, "--contact-sheet", detour},
             {f.in, unborn, "--contact-sheet", unborn},
             {f.in, unborn, "--contact-sheet", f.folder / "link to new"},
             {f.in, f.folder / "t.html", "--trace", f.folder / "t.html"},
             {f.in, f.out, "--trace", f.folder / "t.html", "--trace", f.folder / "t.html"},
             {f.in, "-", "--contact-sheet", "-"}}) {
        const test::outcome result = test::program{words}.wait();
        INFO(result.messages);
        CHECK(result.exit_code == 2);
        CHECK(result.messages.find("is the same file as") != std::string::npos);
    }
    CHECK_UNARY(test::read_file(f.in) == small_video);
    CHECK(test::read_file(f.out) == "precious");
    CHECK(f.folder.entries() == 5);
}

TEST_CASE("standard input and output that are one file are refused, one device is not") {
    const fixture f;
    CHECK(test::program{{"-", "-"}, {.input = f.in, .output = f.in}}.wait().exit_code == 2);
    CHECK_UNARY(test::read_file(f.in) == small_video);
    CHECK(test::program{{f.in, "/dev/null", "--contact-sheet", "/dev/null"}}.wait().exit_code == 0);
}

TEST_CASE("frames come out while the input is still open") {
    const video_format format = test::format_of(64, 48);
    const std::size_t header = stream_header(format).size() + 1;
    const std::size_t frame = frame_bytes(format) + std::string_view{"FRAME\n"}.size();
    const fixture f;
    const test::pipe_file input{f.folder / "input"};
    const test::pipe_file output{f.folder / "output"};
    test::program run{{"-", "-"}, {.input = input.path(), .output = output.path()}};
    input.put(small_video.substr(0, header));
    CHECK(output.take(header) == header);
    for (std::size_t i = 0; i < 5; ++i) {
        input.put(small_video.substr(header + i * frame, frame));
        CHECK(output.take(frame) == frame);
    }
}

TEST_CASE("SIGUSR1 shows the holders of frames, as often as it comes, and the run goes on") {
    const fixture f;
    const std::string messages = f.folder / "messages";
    test::program run{{f.in, f.out, "--stall", "3", "--lease", "700"}, {.messages = messages}};
    const std::string holds = "held by    'denoise'";
    std::string seen;
    for (int i = 0; i < 100 && seen.find(holds) == std::string::npos; ++i) { // the denoiser hangs for 700 ms
        run.interrupt(SIGUSR1);
        std::this_thread::sleep_for(20ms);
        seen = test::read_file(messages);
    }
    CHECK(run.wait().exit_code == 0);
    INFO(seen);
    CHECK(seen.find("domain 'frames': 10 buffers") == 0);
    CHECK(seen.find(holds) != std::string::npos);
    CHECK(seen.find("stages.cpp:") != std::string::npos);
}

TEST_CASE("a stage that hangs is named to those that wait for it for too long, with the line that locked") {
    const fixture f;
    const std::string messages = f.folder / "messages";
    test::program run{{f.in, f.out, "--stall", "3", "--lease", "60000"}, {.messages = messages}};
    const std::string seen = messages_with(messages, "does not move");
    INFO(seen);
    CHECK(seen.find("stuck: '") == 0);
    CHECK(seen.find("behind 'denoise', which has held 'denoised ") != std::string::npos);
    CHECK(seen.find(" to write for 1.0") != std::string::npos);
    CHECK(seen.find("(stages.cpp:") != std::string::npos);
    CHECK(seen.find("'denoise' does not move") != std::string::npos);
}

TEST_CASE("another video on standard input is refused with the command that helps") {
    const fixture f{"RIFF....AVI "};
    const test::outcome result = test::program{{"-", f.out}, {.input = f.in}}.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.messages.find("-f yuv4mpegpipe -pix_fmt yuv420p - | dmasync_pipeline - ...") != std::string::npos);
}

TEST_CASE("bytes of the input that could do something to a terminal are escaped in messages") {
    fixture{with_header("YUV4MPEG2 W64 H48 C\x1b[31m\x9b")}.fails_with("parameter C\\x1b[31m\\x9b (known are");
}

TEST_CASE("help that cannot be written is an error") {
    CHECK(test::program{{"--help"}}.wait().exit_code == 0);
    CHECK(test::program{{"--help"}, {.output = "/dev/full"}}.wait().exit_code == 1);
}
