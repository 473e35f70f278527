// SPDX-License-Identifier: MIT
#include <dmasync/unique_fd.hpp>

#include <doctest/doctest.h>

#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>

using namespace dmasync;

namespace {

unique_fd make_fd() { return unique_fd{::eventfd(0, EFD_CLOEXEC)}; }

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

} // namespace

static_assert(!std::is_copy_constructible_v<unique_fd> && !std::is_copy_assignable_v<unique_fd>);

TEST_CASE("a descriptor is closed with its owner") {
    int fd = -1;
    {
        const unique_fd owner = make_fd();
        fd = owner.get();
        CHECK(is_open(fd));
    }
    CHECK_FALSE(is_open(fd));
}

TEST_CASE("a move leaves an empty owner, and closes nothing") {
    unique_fd from = make_fd();
    const int fd = from.get();
    const unique_fd to = std::move(from);
    CHECK_FALSE(from); // NOLINT(bugprone-use-after-move): that is what it is about
    CHECK(to.get() == fd);
    CHECK(is_open(fd));
}

TEST_CASE("an owner that is given another descriptor closes the one it had") {
    unique_fd owner = make_fd();
    unique_fd other = make_fd();
    const int had = owner.get();
    const int gets = other.get();
    owner = std::move(other);
    CHECK_FALSE(is_open(had));
    CHECK(owner.get() == gets);
    owner.reset();
    CHECK_FALSE(is_open(gets));
    CHECK_FALSE(owner);
}

TEST_CASE("an owner that is moved to itself keeps its descriptor") {
    unique_fd owner = make_fd();
    unique_fd& same = owner;
    owner = std::move(same);
    CHECK(is_open(owner.get()));
}

TEST_CASE("a descriptor that was released stays open") {
    unique_fd owner = make_fd();
    const int fd = owner.release();
    CHECK_FALSE(owner);
    CHECK(is_open(fd));
    const unique_fd closer{fd};
}
