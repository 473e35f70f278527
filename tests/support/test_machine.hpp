// SPDX-License-Identifier: MIT
#pragma once
/// \file test_machine.hpp  What a program finds inside the test machine; `tests/vm/run --help` describes it.

#include <dmasync/unique_fd.hpp>

#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace support {

/// The folder that the host sees too; empty outside of the test machine.
inline std::string scratch_folder() {
    const char* folder = std::getenv("DMASYNC_VM_SCRATCH");
    return folder == nullptr ? "" : folder;
}

/// Has the host take a picture (PPM) of what the virtio_gpu card displays, into a file in the scratch folder.
/// Returns "ok", or what went wrong.
inline std::string take_screendump(const std::string& file) {
    const dmasync::unique_fd port{::open("/dev/virtio-ports/dmasync.host", O_RDWR | O_CLOEXEC)};
    const std::string request = "screendump " + file + "\n";
    if (::write(port.get(), request.data(), request.size()) < 0) { return "no port to the host"; }
    std::string answer;
    for (char letter = 0; ::read(port.get(), &letter, 1) == 1 && letter != '\n';) { answer += letter; }
    return answer;
}

} // namespace support
