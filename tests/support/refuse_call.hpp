// SPDX-License-Identifier: MIT
#pragma once
/// \file refuse_call.hpp  Has the kernel refuse a system call, as the sandbox of a container does.

#include <array>
#include <cstddef>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

namespace support {

inline constexpr int cannot_filter = 77; ///< what a child ends with when the kernel allows no filters

/// From here on a system call of this thread, and of those that it starts, answers `error`. For a child: it is for good.
/// Returns: whether that could be arranged.
inline bool refuse_call(unsigned call, unsigned error) {
    std::array<sock_filter, 4> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{program.size(), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

} // namespace support
