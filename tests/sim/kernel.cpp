// SPDX-License-Identifier: MIT
#include <sim/kernel.hpp>
#include <sim/report.hpp>
#include <sim/scheduler.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef DMA_BUF_IOCTL_EXPORT_SYNC_FILE
struct dma_buf_export_sync_file {
    __u32 flags;
    __s32 fd;
};
struct dma_buf_import_sync_file {
    __u32 flags;
    __s32 fd;
};
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE _IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE _IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)
#endif

namespace sim {

namespace {

constexpr int first_fd = 1 << 20;
constexpr std::size_t page = 4096;
constexpr std::size_t most_buffers = 16;

enum class kind : std::uint8_t { event, sync, buffer, epoll };

struct use {
    int work;
    bool writes;
    std::uint64_t number; // of all uses
};

struct injection {
    unsigned long request;
    int error;
    int times;
};

struct dma_buf {
    std::vector<use> uses;
    std::vector<injection> injections;
    std::array<int, 2> started{}; // for reading, for writing
};

/// An open file.
struct file {
    kind what = kind::event;
    int descriptors = 0;
    std::uint64_t count = 0;  // of an eventfd
    std::vector<int> parts{}; // of a sync_file
    int buffer = -1;          // of a dma-buf; of an epoll set, what it looks at
    bool writes = false;      // of an epoll set
};

struct kernel {
    std::vector<int> status; // of each piece of work: as the kernel's
    std::vector<dma_buf> buffers;
    std::vector<file> files;
    std::vector<int> descriptors; // the file of each; -1 for a free one
    std::size_t open = 0;
    std::uint64_t uses = 0;
};

kernel k;
char something_changed; // sleepers in the kernel sleep on it
alignas(64) std::array<std::byte, page * most_buffers> memory;

bool is_ours(int fd) { return fd >= first_fd; }

int failed(int error) {
    errno = error;
    return -1;
}

file* find(int fd) {
    const auto i = static_cast<std::size_t>(fd - first_fd);
    if (i >= k.descriptors.size() || k.descriptors[i] < 0) { return nullptr; }
    return &k.files[static_cast<std::size_t>(k.descriptors[i])];
}

dma_buf& buffer_of(const file& f) { return k.buffers[static_cast<std::size_t>(f.buffer)]; }

/// A descriptor for a file: the lowest that is free, as the kernel's, so that one that was closed is soon another's.
int open_file(std::size_t index) {
    const auto place = std::find(k.descriptors.begin(), k.descriptors.end(), -1);
    const auto i = static_cast<std::size_t>(place - k.descriptors.begin());
    if (place == k.descriptors.end()) { k.descriptors.push_back(-1); }
    k.descriptors[i] = static_cast<int>(index);
    ++k.files[index].descriptors;
    ++k.open;
    return first_fd + static_cast<int>(i);
}

int make_file(file f) {
    for (std::size_t i = 0; i < k.files.size(); ++i) {
        if (k.files[i].descriptors == 0) {
            k.files[i] = std::move(f);
            return open_file(i);
        }
    }
    k.files.push_back(std::move(f));
    return open_file(k.files.size() - 1);
}

bool pending(int work) { return k.status[static_cast<std::size_t>(work)] == 0; }

bool is_busy(const dma_buf& b, bool for_writing) {
    return std::any_of(b.uses.begin(), b.uses.end(),
                       [&](const use& u) { return pending(u.work) && (for_writing || u.writes); });
}

short readiness(const file& f) {
    switch (f.what) {
    case kind::event: return f.count != 0 ? POLLIN : 0;
    case kind::sync: return std::any_of(f.parts.begin(), f.parts.end(), pending) ? 0 : POLLIN;
    case kind::buffer: {
        const int in = is_busy(buffer_of(f), false) ? 0 : POLLIN;
        return static_cast<short>(in | (is_busy(buffer_of(f), true) ? 0 : POLLOUT));
    }
    case kind::epoll: return is_busy(buffer_of(f), f.writes) ? 0 : POLLIN;
    }
    return 0;
}

int look(pollfd* entries, nfds_t count) {
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
        pollfd& p = entries[i];
        p.revents = 0;
        if (p.fd < 0) { continue; }
        const file* f = find(p.fd);
        p.revents = f == nullptr ? POLLNVAL : static_cast<short>(readiness(*f) & p.events);
        ready += p.revents != 0 ? 1 : 0;
    }
    return ready;
}

int poll_ours(pollfd* entries, nfds_t count, bool may_wait) {
    point();
    int ready = look(entries, count);
    if (ready != 0 || !may_wait) { return ready; }
    sleep_on(&something_changed);
    return look(entries, count);
}

int info(const file& f, sync_file_info& i) {
    const bool busy = std::any_of(f.parts.begin(), f.parts.end(), pending);
    int status = busy ? 0 : 1;
    for (const int p : f.parts) {
        if (!busy && status == 1) { status = std::min(status, k.status[static_cast<std::size_t>(p)]); }
    }
    i.status = status;
    if (i.num_fences != 0) { return failed(EINVAL); } // they are not asked for here
    i.num_fences = static_cast<std::uint32_t>(f.parts.size());
    return 0;
}

/// Parts that have ended are left out, as by the kernel.
int merge(const file& f, sync_merge_data& d) {
    const file* other = find(d.fd2);
    if (other == nullptr || other->what != kind::sync) { return failed(ENOENT); }
    file merged{.what = kind::sync};
    std::copy_if(f.parts.begin(), f.parts.end(), std::back_inserter(merged.parts), pending);
    std::copy_if(other->parts.begin(), other->parts.end(), std::back_inserter(merged.parts), pending);
    d.fence = make_file(std::move(merged));
    return 0;
}

int injected_error(dma_buf& b, unsigned long request) {
    for (injection& i : b.injections) {
        if (i.request != request || i.times == 0) { continue; }
        --i.times;
        return i.error;
    }
    return 0;
}

/// START waits for fences, without a limit, as the kernel does.
int sync(int buffer, std::uint64_t flags) {
    const bool writes = (flags & DMA_BUF_SYNC_WRITE) != 0;
    const auto b = static_cast<std::size_t>(buffer);
    int& started = k.buffers[b].started.at(writes ? 1 : 0);
    if ((flags & DMA_BUF_SYNC_END) != 0) {
        if (started == 0) {
            violated(invariant::bracket, "dma-buf %d: END(%s) without a START", buffer, writes ? "RW" : "R");
        }
        --started;
        note("dma-buf %d: END(%d)", buffer, writes ? 1 : 0);
        return 0;
    }
    while (is_busy(k.buffers[b], writes)) { sleep_soundly_on(&something_changed); }
    ++k.buffers[b].started.at(writes ? 1 : 0);
    note("dma-buf %d: START(%d)", buffer, writes ? 1 : 0);
    return 0;
}

int export_fences(const dma_buf& b, dma_buf_export_sync_file& r) {
    file f{.what = kind::sync};
    const bool writes = (r.flags & DMA_BUF_SYNC_WRITE) != 0;
    for (const use& u : b.uses) {
        if (pending(u.work) && (writes || u.writes)) { f.parts.push_back(u.work); }
    }
    r.fd = make_file(std::move(f));
    return 0;
}

int import_fences(dma_buf& b, const dma_buf_import_sync_file& r) {
    const file* f = find(r.fd);
    if (f == nullptr || f->what != kind::sync) { return failed(EINVAL); }
    for (const int p : f->parts) { b.uses.push_back({p, (r.flags & DMA_BUF_SYNC_WRITE) != 0, k.uses++}); }
    return 0;
}

int request_of_buffer(const file& f, unsigned long request, void* argument) {
    dma_buf& b = buffer_of(f);
    if (const int error = injected_error(b, request); error != 0) {
        note("dma-buf %d: a request fails with errno %d", f.buffer, error);
        return failed(error);
    }
    switch (request) {
    case DMA_BUF_IOCTL_SYNC: return sync(f.buffer, static_cast<const dma_buf_sync*>(argument)->flags);
    case DMA_BUF_IOCTL_EXPORT_SYNC_FILE: return export_fences(b, *static_cast<dma_buf_export_sync_file*>(argument));
    case DMA_BUF_IOCTL_IMPORT_SYNC_FILE:
        return import_fences(b, *static_cast<const dma_buf_import_sync_file*>(argument));
    default: return failed(ENOTTY);
    }
}

int request_ours(int fd, unsigned long request, void* argument) {
    point();
    const file* f = find(fd);
    if (f == nullptr) { return failed(EBADF); }
    if (f->what == kind::buffer) { return request_of_buffer(*f, request, argument); }
    if (f->what != kind::sync) { return failed(ENOTTY); }
    if (request == SYNC_IOC_FILE_INFO) { return info(*f, *static_cast<sync_file_info*>(argument)); }
    return request == SYNC_IOC_MERGE ? merge(*f, *static_cast<sync_merge_data*>(argument)) : failed(ENOTTY);
}

int control_ours(int fd, int command) {
    const file* f = find(fd);
    if (f == nullptr) { return failed(EBADF); }
    if (command == F_DUPFD_CLOEXEC) { return open_file(static_cast<std::size_t>(f - k.files.data())); }
    return command == F_GETFD ? FD_CLOEXEC : failed(EINVAL);
}

int close_ours(int fd) {
    file* f = find(fd);
    if (f == nullptr) { violated(invariant::leaks, "descriptor %d is closed twice", fd - first_fd); }
    k.descriptors[static_cast<std::size_t>(fd - first_fd)] = -1;
    --f->descriptors;
    --k.open;
    return 0;
}

ssize_t write_ours(int fd, const void* from, std::size_t size) {
    point();
    file* f = find(fd);
    if (f == nullptr || f->what != kind::event || size != sizeof(std::uint64_t)) { return failed(EBADF); }
    std::uint64_t n = 0;
    std::memcpy(&n, from, sizeof n);
    f->count += n;
    wake(&something_changed);
    return static_cast<ssize_t>(size);
}

ssize_t read_ours(int fd, void* to, std::size_t size) {
    point();
    file* f = find(fd);
    if (f == nullptr || f->what != kind::event || size != sizeof(std::uint64_t)) { return failed(EBADF); }
    if (f->count == 0) { return failed(EAGAIN); }
    std::memcpy(to, &f->count, sizeof f->count);
    f->count = 0;
    return static_cast<ssize_t>(size);
}

bool is_our_memory(const void* p) { return p >= memory.data() && p < memory.data() + memory.size(); }

} // namespace

void start_kernel() {
    k.status.clear();
    k.buffers.clear();
    k.files.clear();
    k.descriptors.clear();
    k.open = 0;
    k.uses = 0;
}

std::size_t open_descriptors() noexcept { return k.open; }

int open_brackets() noexcept {
    int n = 0;
    for (const dma_buf& b : k.buffers) { n += b.started[0] + b.started[1]; }
    return n;
}

int begin_work() {
    k.status.push_back(0);
    return static_cast<int>(k.status.size()) - 1;
}

void end_work(int work, int error) {
    int& status = k.status[static_cast<std::size_t>(work)];
    if (status != 0) { return; }
    status = error == 0 ? 1 : -error;
    wake(&something_changed);
}

bool is_pending(int work) { return pending(work); }

void end_all_work() {
    for (std::size_t i = 0; i < k.status.size(); ++i) { end_work(static_cast<int>(i), 0); }
}

int make_sync_file(int work) { return make_file({.what = kind::sync, .parts = {work}}); }

int make_dma_buf(int& fd) {
    k.buffers.emplace_back();
    const int buffer = static_cast<int>(k.buffers.size()) - 1;
    fd = make_file({.what = kind::buffer, .buffer = buffer});
    return buffer;
}

int open_dma_buf(int buffer) { return make_file({.what = kind::buffer, .buffer = buffer}); }

void add_work(int buffer, int work, bool writes) {
    k.buffers[static_cast<std::size_t>(buffer)].uses.push_back({work, writes, k.uses++});
}

std::uint64_t uses_so_far() noexcept { return k.uses; }

bool is_in_use(int buffer, bool for_writing, std::uint64_t uses) {
    const std::vector<use>& all = k.buffers[static_cast<std::size_t>(buffer)].uses;
    return std::any_of(all.begin(), all.end(),
                       [&](const use& u) { return u.number < uses && pending(u.work) && (for_writing || u.writes); });
}

void inject(int buffer, unsigned long request, int error, int times) {
    k.buffers[static_cast<std::size_t>(buffer)].injections.push_back({request, error, times});
}

void forget_injections() {
    for (dma_buf& b : k.buffers) { b.injections.clear(); }
}

} // namespace sim

// What the program calls instead of the C library.
// NOLINTBEGIN(cert-dcl50-cpp,readability-inconsistent-declaration-parameter-name): the C library's declarations
extern "C" {

int ioctl(int fd, unsigned long request, ...) noexcept {
    va_list list;
    va_start(list, request);
    void* argument = va_arg(list, void*);
    va_end(list);
    if (sim::is_ours(fd)) { return sim::request_ours(fd, request, argument); }
    return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}

#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // the C library has it that poll does not read the entries
#endif
int poll(pollfd* entries, nfds_t count, int timeout) {
    return count != 0 && sim::is_ours(entries[0].fd) ? sim::poll_ours(entries, count, timeout != 0)
                                                     : static_cast<int>(::syscall(SYS_poll, entries, count, timeout));
}

int ppoll(pollfd* entries, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    const bool waits = timeout == nullptr || timeout->tv_sec != 0 || timeout->tv_nsec != 0;
    if (count != 0 && sim::is_ours(entries[0].fd)) { return sim::poll_ours(entries, count, waits); }
    timespec copy = timeout == nullptr ? timespec{} : *timeout;
    return static_cast<int>(
        ::syscall(SYS_ppoll, entries, count, timeout == nullptr ? nullptr : &copy, mask, std::size_t{8}));
}

#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

int eventfd(unsigned, int) noexcept { return sim::make_file({.what = sim::kind::event}); }

int epoll_create1(int) noexcept { return sim::make_file({.what = sim::kind::epoll}); }

int epoll_ctl(int set, int, int fd, epoll_event* wanted) noexcept {
    sim::file* f = sim::find(set);
    f->buffer = sim::find(fd)->buffer;
    f->writes = (wanted->events & EPOLLOUT) != 0;
    return 0;
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void* argument = va_arg(list, void*);
    va_end(list);
    return sim::is_ours(fd) ? sim::control_ours(fd, command)
                            : static_cast<int>(::syscall(SYS_fcntl, fd, command, argument));
}

int close(int fd) { return sim::is_ours(fd) ? sim::close_ours(fd) : static_cast<int>(::syscall(SYS_close, fd)); }

ssize_t write(int fd, const void* from, std::size_t size) {
    return sim::is_ours(fd) ? sim::write_ours(fd, from, size) : ::syscall(SYS_write, fd, from, size);
}

ssize_t read(int fd, void* to, std::size_t size) {
    return sim::is_ours(fd) ? sim::read_ours(fd, to, size) : ::syscall(SYS_read, fd, to, size);
}

int fstat(int fd, struct stat* out) noexcept {
    if (!sim::is_ours(fd)) { return static_cast<int>(::syscall(SYS_fstat, fd, out)); }
    const sim::file* f = sim::find(fd);
    if (f == nullptr) { return sim::failed(EBADF); }
    *out = {};
    out->st_ino = static_cast<ino_t>(f->buffer + 1);
    return 0;
}

int fstatfs(int fd, struct statfs* out) noexcept {
    if (!sim::is_ours(fd)) { return static_cast<int>(::syscall(SYS_fstatfs, fd, out)); }
    *out = {};
    const sim::file* f = sim::find(fd);
    out->f_type = f != nullptr && f->what == sim::kind::buffer ? 0x444d4142 : 0;
    return 0;
}

off_t lseek(int fd, off_t offset, int whence) noexcept {
    return sim::is_ours(fd) ? static_cast<off_t>(sim::page) : ::syscall(SYS_lseek, fd, offset, whence);
}

void* mmap(void* at, std::size_t size, int protection, int flags, int fd, off_t offset) noexcept {
    if (sim::is_ours(fd)) { return sim::memory.data() + sim::page * static_cast<std::size_t>(sim::find(fd)->buffer); }
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's interface
    return reinterpret_cast<void*>(::syscall(SYS_mmap, at, size, protection, flags, fd, offset));
}

int munmap(void* at, std::size_t size) noexcept {
    return sim::is_our_memory(at) ? 0 : static_cast<int>(::syscall(SYS_munmap, at, size));
}

/// What /proc says of a dma-buf here: nothing.
int open(const char* path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    const int mode = va_arg(list, int);
    va_end(list);
    if (std::strncmp(path, "/proc/self/fdinfo/", 18) == 0) { return sim::failed(ENOENT); }
    return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

} // extern "C"
// NOLINTEND(cert-dcl50-cpp,readability-inconsistent-declaration-parameter-name)
