// SPDX-License-Identifier: MIT
#pragma once
/// \file fork_mark.hpp  Tells a process from its forked children, by one look at memory.

#include <dmasync/version.hpp>

#include <cstdint>
#include <memory>

#include <sys/mman.h>

namespace dmasync::inline DMASYNC_ABI::detail {

/// A word that is zero in a child. The kernel sees to that, however the child was made: no handler, no process id that could
/// be the same in another namespace, no system call. A thread, and a child of vfork, shares the memory and is none.
///
/// Source: MADV_WIPEONFORK, Linux 4.14. Before, and where there is no memory for it, forks are not noticed.
class fork_mark {
public:
    /// Marks nothing: no process is a child.
    fork_mark() noexcept = default;

    [[nodiscard]] static fork_mark of_this_process() noexcept {
        fork_mark made;
        void* page = ::mmap(nullptr, sizeof(word), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) { return made; }
        made.word_.reset(static_cast<word*>(page));
        *made.word_ = 1;
        if (::madvise(page, sizeof(word), MADV_WIPEONFORK) != 0) { made.word_.reset(); }
        return made;
    }

    /// Threads: any.
    [[nodiscard]] bool is_in_child() const noexcept { return word_ != nullptr && *word_ == 0; }

private:
    using word = volatile std::uint32_t;
    struct unmap {
        void operator()(word* p) const noexcept { ::munmap(const_cast<std::uint32_t*>(p), sizeof(word)); }
    };

    std::unique_ptr<word, unmap> word_; // a page of its own
};

} // namespace dmasync::inline DMASYNC_ABI::detail
