// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_fixture.hpp  Three buffers to lock, on a virtual clock.

#include <dmasync/domain.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/manual_loop.hpp>

#include <array>
#include <cstddef>
#include <vector>

namespace support {

/// A domain on a virtual clock, with a few buffers of plain memory.
struct lock_fixture {
    dmasync::manual_loop loop;
    std::vector<dmasync::lease_report> reports; // without what dies with the call
    dmasync::domain media{
        loop, {.name = "media", .report = [this](const dmasync::lease_report& r) { reports.push_back(r); }}};
    std::array<std::array<std::byte, 64>, 3> memory{};
    dmasync::buffer a = media.adopt(memory[0], "a");
    dmasync::buffer b = media.adopt(memory[1], "b");
    dmasync::buffer c = media.adopt(memory[2], "c");
};

} // namespace support
