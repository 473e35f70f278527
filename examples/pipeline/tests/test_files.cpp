// SPDX-License-Identifier: MIT
#include "output_file.hpp"

#include "support.hpp"
#include "y4m.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>

using namespace pipeline;

namespace {

void write_text(const output_file& file, std::string_view text) {
    write_all(file.fd(), std::as_bytes(std::span{text}), file.name());
}

/// While it lives, the standard output is `fd`, or closed if that is -1.
class redirected_output {
public:
    explicit redirected_output(int fd) : saved_{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)} {
        if (fd < 0) {
            ::close(STDOUT_FILENO);
        } else {
            ::dup2(fd, STDOUT_FILENO);
        }
    }
    ~redirected_output() { ::dup2(saved_.get(), STDOUT_FILENO); }

private:
    dmasync::unique_fd saved_;
};

} // namespace

TEST_CASE("a file appears under its name when it is committed, not before") {
    const test::temporary_folder folder;
    output_file file{folder / "out"};
    write_text(file, "whole");
    CHECK_FALSE(std::filesystem::exists(folder / "out"));
    file.commit();
    CHECK(test::read_file(folder / "out") == "whole");
    CHECK(folder.entries() == 1);
}

TEST_CASE("a file that is not committed leaves nothing behind") {
    const test::temporary_folder folder;
    { write_text(output_file{folder / "out"}, "half"); }
    CHECK(folder.entries() == 0);
}

TEST_CASE("an existing file stays as it was until the commit") {
    const test::temporary_folder folder;
    test::write_file(folder / "out", "old");
    { write_text(output_file{folder / "out"}, "half"); }
    CHECK(test::read_file(folder / "out") == "old");
    output_file file{folder / "out"};
    write_text(file, "new");
    file.commit();
    CHECK(test::read_file(folder / "out") == "new");
}

TEST_CASE("a symbolic link stays one and its target is replaced") {
    const test::temporary_folder folder;
    test::write_file(folder / "real", "old");
    std::filesystem::create_symlink("real", folder / "link");
    output_file file{folder / "link"};
    write_text(file, "new");
    file.commit();
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(test::read_file(folder / "real") == "new");
}

TEST_CASE("a name without a folder means the current one") {
    const test::temporary_folder folder;
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(folder.path());
    output_file file{"out"};
    write_text(file, "here");
    file.commit();
    std::filesystem::current_path(before);
    CHECK(test::read_file(folder / "out") == "here");
}

TEST_CASE("two writers of one name do not disturb each other") {
    const test::temporary_folder folder;
    output_file first{folder / "out"};
    output_file second{folder / "out"};
    write_text(first, "first");
    write_text(second, "second");
    second.commit();
    first.commit();
    CHECK(test::read_file(folder / "out") == "first");
    CHECK(folder.entries() == 1);
}

TEST_CASE("a folder that does not exist is an error that names the file") {
    const test::temporary_folder folder;
    const std::string path = folder / "missing/out";
    CHECK(test::error_of([&] { output_file{path}; }) == std::errc::no_such_file_or_directory);
    CHECK(test::message_of([&] { output_file{path}; }).find(path) != std::string::npos);
}

TEST_CASE("a folder cannot be overwritten") {
    const test::temporary_folder folder;
    CHECK(test::error_of([&] { output_file{folder.path().string()}; }) == std::errc::is_a_directory);
}

TEST_CASE("a device is written to, not replaced") {
    output_file file{"/dev/null"};
    write_text(file, "gone");
    file.commit();
    CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("a full disk is reported") {
    const output_file file{"/dev/full"};
    CHECK(test::error_of([&] {
              y4m_writer{file.fd(), file.name(), test::format_of(2, 2)};
          }) == std::errc::no_space_on_device);
}

TEST_CASE("the standard output can be the target") {
    const test::temporary_folder folder;
    const dmasync::unique_fd target{::open((folder / "captured").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    {
        const redirected_output redirected{target.get()};
        output_file file{"-"};
        write_text(file, "text");
        file.commit();
    }
    CHECK(test::read_file(folder / "captured") == "text");
}

TEST_CASE("a closed standard output is reported") {
    std::error_code error;
    {
        const redirected_output redirected{-1};
        error = test::error_of([] { output_file{"-"}; });
    }
    CHECK(error == std::errc::bad_file_descriptor);
}

TEST_CASE("a pipe without readers is reported") {
    make_write_signals_errors();
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    dmasync::unique_fd reader{ends[0]};
    const dmasync::unique_fd writer{ends[1]};
    reader.reset();
    CHECK(test::error_of([&] { y4m_writer{writer.get(), "pipe", test::format_of(2, 2)}; }) == std::errc::broken_pipe);
}

TEST_CASE("the umask decides which users may read a new file") {
    const test::temporary_folder folder;
    const mode_t before = ::umask(027);
    output_file{folder / "out"}.commit();
    ::umask(before);
    struct stat status {};
    REQUIRE(::stat((folder / "out").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("a file that is replaced hands its permissions on") {
    const test::temporary_folder folder;
    test::write_file(folder / "out", "old");
    for (const mode_t mode : {0600U, 0664U}) {
        REQUIRE(::chmod((folder / "out").c_str(), mode) == 0);
        output_file{folder / "out"}.commit();
        struct stat status {};
        REQUIRE(::stat((folder / "out").c_str(), &status) == 0);
        CHECK((status.st_mode & 0777) == mode);
    }
}

TEST_CASE("a symbolic link to a file that does not exist yet stays one, and the file is made") {
    const test::temporary_folder folder;
    std::filesystem::create_symlink("other", folder / "link");
    std::filesystem::create_symlink("unborn", folder / "other");
    output_file file{folder / "link"};
    write_text(file, "new");
    file.commit();
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(std::filesystem::is_symlink(folder / "other"));
    CHECK(test::read_file(folder / "unborn") == "new");
}

TEST_CASE("a symbolic link to itself is refused") {
    const test::temporary_folder folder;
    std::filesystem::create_symlink("link", folder / "link");
    CHECK(test::error_of([&] { output_file{folder / "link"}; }) == std::errc::too_many_symbolic_link_levels);
}

TEST_CASE("a name may be as long as a name can be, and a longer one is refused at once") {
    const test::temporary_folder folder;
    output_file{folder / std::string(255, 'x')}.commit();
    CHECK(std::filesystem::exists(folder / std::string(255, 'x')));
    CHECK(test::error_of([&] { output_file{folder / std::string(256, 'x')}; }) == std::errc::filename_too_long);
    CHECK(folder.entries() == 1);
}

TEST_CASE("a file that is open already is written where it is, after what it has") {
    const test::temporary_folder folder;
    test::write_file(folder / "log", "old ");
    const dmasync::unique_fd log{::open((folder / "log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)};
    const redirected_output redirected{log.get()};
    for (const std::string& name : {std::string{"/dev/stdout"}, "/dev/fd/" + std::to_string(log.get())}) {
        output_file file{name};
        write_text(file, "new ");
        file.commit();
    }
    CHECK(test::read_file(folder / "log") == "old new new ");
    CHECK(folder.entries() == 1);
}
