// SPDX-License-Identifier: MIT
#pragma once
/// \file pipe.hpp  A pipe: something that is readable when a test wants it to be.

#include <dmasync/unique_fd.hpp>

#include <doctest/doctest.h>

#include <array>

#include <fcntl.h>
#include <unistd.h>

namespace support {

struct pipe {
    pipe() {
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
        read_end.reset(ends[0]);
        write_end.reset(ends[1]);
    }

    void put() const { REQUIRE(::write(write_end.get(), "x", 1) == 1); }
    void take() const {
        char byte = 0;
        REQUIRE(::read(read_end.get(), &byte, 1) == 1);
    }

    dmasync::unique_fd read_end;
    dmasync::unique_fd write_end;
};

} // namespace support
