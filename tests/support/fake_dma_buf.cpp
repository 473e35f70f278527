// SPDX-License-Identifier: MIT
#include <support/fake_dma_buf.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace support {

namespace fake {

using dmasync::unique_fd;

/// One fence of the kernel's.
struct point {
    std::string timeline;
    int status = 0; // as the kernel's: 0 active, 1 signalled, below that an error
    std::uint64_t ended = 0;
};
using points = std::vector<std::shared_ptr<point>>;

bool is_pending(const std::shared_ptr<point>& p) { return p->status == 0; }

int failed(int error) {
    errno = error;
    return -1;
}

/// What is behind a fake descriptor.
struct object {
    object() = default;
    object(const object&) = delete;
    object& operator=(const object&) = delete;
    virtual ~object() = default;

    /// Returns: as ioctl; `not_mine` for a request that it does not know.
    static constexpr int not_mine = -2;
    virtual int request(unsigned long request, void* argument) = 0;

    /// Whether a meddler may answer what it does not know.
    virtual bool is_device() const { return false; }

    struct injection {
        unsigned long request;
        int error;
        int times;
        int skipped;
    };
    std::vector<injection> injections;

    int injected_error(unsigned long request) {
        for (injection& i : injections) {
            if (i.request != request || i.times == 0) { continue; }
            if (i.skipped > 0) {
                --i.skipped;
                return 0;
            }
            i.times -= i.times == always ? 0 : 1;
            return i.error;
        }
        return 0;
    }
};

using identity = std::pair<dev_t, ino_t>;

struct sync_file : object {
    std::string name;
    points parts;
    unique_fd write_end; // what is written here makes the file readable; the other end is the file
    bool readable = false;

    int request(unsigned long request, void* argument) override;
    int info(sync_file_info& i) const;
    int merge(sync_merge_data& d) const;

    void update() {
        if (readable || std::any_of(parts.begin(), parts.end(), is_pending)) { return; }
        readable = true;
        static_cast<void>(::send(write_end.get(), "x", 1, MSG_NOSIGNAL)); // fails when no descriptor is left
    }

    bool has_descriptor() const {
        pollfd entry{write_end.get(), 0, 0};
        const timespec now{};
        return ::ppoll(&entry, 1, &now, nullptr) != 1 || (entry.revents & POLLHUP) == 0;
    }
};

struct dma_buf : object {
    struct use {
        std::shared_ptr<point> fence;
        bool writes;
    };

    std::string exporter;
    std::string name;
    std::string log;
    std::size_t size = 0;
    bool started = false;
    std::vector<use> uses;

    /// What has to be waited for: by a reader writers, by a writer all.
    points pending(bool writes) const {
        points found;
        for (const use& u : uses) {
            if (is_pending(u.fence) && (writes || u.writes)) { found.push_back(u.fence); }
        }
        return found;
    }

    short readiness() const {
        return static_cast<short>((pending(false).empty() ? POLLIN : 0) | (pending(true).empty() ? POLLOUT : 0));
    }

    int request(unsigned long request, void* argument) override;
    int sync(std::uint64_t flags);
    int export_fences(dma_buf_export_sync_file& r) const;
    int import_fences(const dma_buf_import_sync_file& r);
};

/// A device node; `object` of its open descriptors as well.
struct device : object {
    std::string path;
    int open_error = 0;

    int request(unsigned long request, void* argument) override;
    bool is_device() const override { return true; }
    int make_udmabuf(const udmabuf_create& r) const;
    int make_in_heap(dma_heap_allocation_data& r) const;
};

/// Everything there is, under one lock.
struct kernel {
    std::mutex lock;
    std::map<identity, std::shared_ptr<sync_file>> files;
    std::map<identity, std::shared_ptr<dma_buf>> buffers; // memfds: their numbers are not used again
    std::map<identity, std::shared_ptr<device>> opened;   // memfds too
    std::map<std::string, std::shared_ptr<device>> devices;
    meddler* liar = nullptr;

    template <class Object>
    static std::shared_ptr<Object> find(const std::map<identity, std::shared_ptr<Object>>& in, int fd) {
        struct stat info {};
        if (in.empty() || ::fstat(fd, &info) != 0) { return nullptr; }
        const auto found = in.find({info.st_dev, info.st_ino});
        return found == in.end() ? nullptr : found->second;
    }

    std::shared_ptr<object> find_any(int fd) const {
        if (auto file = find(files, fd)) { return file; }
        if (auto buffer = find(buffers, fd)) { return buffer; }
        return find(opened, fd);
    }

    /// Lets go of the files that have no descriptor left.
    void reap() {
        std::erase_if(files, [](const auto& f) { return !f.second->has_descriptor(); });
    }

    void end(point& p, int status) {
        if (p.status != 0) { return; }
        p.status = status;
        p.ended = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
        for (const auto& f : files) { f.second->update(); }
    }
};

kernel& the_kernel() {
    static kernel& k = *new kernel; // never destroyed: calls may come until the very end
    return k;
}

/// A request to a fake, and what becomes of it under way. Under the kernel's lock.
/// Returns: as ioctl; `object::not_mine` for a request that the fake does not know.
int answer(object& target, unsigned long request, void* argument) {
    meddler* const liar = the_kernel().liar;
    if (const int error = target.injected_error(request); error != 0) { return failed(error); }
    const int refusal = liar == nullptr ? 0 : liar->refuse_request(request, argument);
    if (refusal != 0) { return failed(refusal); }
    const int result = target.request(request, argument);
    if (liar == nullptr) { return result; }
    if (result != object::not_mine) { return liar->change_answer(request, argument, result); }
    return target.is_device() ? liar->answer_unknown(request, argument) : result;
}

identity identity_of(int fd) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) { std::abort(); }
    return {info.st_dev, info.st_ino};
}

/// Returns: a descriptor of a new sync_file; -1 with errno. Under the kernel's lock, like all that follows.
int make_sync_file(points parts, std::string_view name) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) { return -1; }
    if (parts.empty()) { // there is nothing to wait for: ended from the start
        parts.push_back(std::make_shared<point>(point{"stub", 1, 1}));
    }
    auto file = std::make_shared<sync_file>();
    file->name = name;
    file->parts = std::move(parts);
    file->write_end.reset(ends[1]);
    file->update();
    kernel& k = the_kernel();
    k.reap();
    k.files[identity_of(ends[0])] = std::move(file);
    return ends[0];
}

int make_dma_buf(std::size_t size, std::string_view exporter) {
    unique_fd fd{::memfd_create("fake dma-buf", MFD_CLOEXEC)};
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) { return -1; }
    auto buffer = std::make_shared<dma_buf>();
    buffer->size = size;
    buffer->exporter = exporter;
    the_kernel().buffers[identity_of(fd.get())] = std::move(buffer);
    return fd.release();
}

template <std::size_t N>
void copy_text(const std::string& from, char (&to)[N]) { // NOLINT(modernize-avoid-c-arrays): the kernel's
    std::copy_n(from.data(), std::min(from.size(), N - 1), to);
}

int sync_file::request(unsigned long request, void* argument) {
    switch (request) {
    case SYNC_IOC_FILE_INFO: return info(*static_cast<sync_file_info*>(argument));
    case SYNC_IOC_MERGE: return merge(*static_cast<sync_merge_data*>(argument));
    default: return not_mine;
    }
}

int sync_file::info(sync_file_info& i) const {
    if (i.flags != 0 || i.pad != 0) { return failed(EINVAL); }
    if (i.num_fences != 0 && i.num_fences < parts.size()) { return failed(EINVAL); }
    const bool pending = std::any_of(parts.begin(), parts.end(), is_pending);
    const auto bad = std::find_if(parts.begin(), parts.end(), [](const auto& p) { return p->status < 0; });
    i.status = pending ? 0 : bad == parts.end() ? 1 : (*bad)->status;
    copy_text(name, i.name);
    if (i.num_fences != 0) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's interface
        auto* out = reinterpret_cast<sync_fence_info*>(static_cast<std::uintptr_t>(i.sync_fence_info));
        for (const auto& p : parts) {
            *out = {};
            copy_text(p->timeline, out->obj_name);
            copy_text("fake driver", out->driver_name);
            out->status = p->status;
            out->timestamp_ns = p->ended;
            ++out;
        }
    }
    i.num_fences = static_cast<std::uint32_t>(parts.size());
    return 0;
}

/// Parts that have ended are left out, and none is there twice, as by the kernel.
int sync_file::merge(sync_merge_data& d) const {
    const auto other = kernel::find(the_kernel().files, d.fd2);
    if (other == nullptr) { return failed(ENOENT); }
    points all;
    for (const points* some : std::initializer_list<const points*>{&parts, &other->parts}) {
        std::copy_if(some->begin(), some->end(), std::back_inserter(all),
                     [&](const auto& p) { return is_pending(p) && std::find(all.begin(), all.end(), p) == all.end(); });
    }
    d.fence = make_sync_file(std::move(all), d.name);
    return d.fence < 0 ? -1 : 0;
}

int dma_buf::request(unsigned long request, void* argument) {
    switch (request) {
    case DMA_BUF_IOCTL_SYNC: return sync(static_cast<const dma_buf_sync*>(argument)->flags);
    case DMA_BUF_IOCTL_EXPORT_SYNC_FILE: return export_fences(*static_cast<dma_buf_export_sync_file*>(argument));
    case DMA_BUF_IOCTL_IMPORT_SYNC_FILE: return import_fences(*static_cast<const dma_buf_import_sync_file*>(argument));
    case DMA_BUF_SET_NAME_A:
    case DMA_BUF_SET_NAME_B: {
        const char* text = static_cast<const char*>(argument);
        if (std::strlen(text) > 31) { return failed(EINVAL); }
        name = text;
        return 0;
    }
    default: return not_mine;
    }
}

int dma_buf::sync(std::uint64_t flags) {
    const bool ends = (flags & DMA_BUF_SYNC_END) != 0;
    if ((flags & ~std::uint64_t{DMA_BUF_SYNC_VALID_FLAGS_MASK}) != 0 || (flags & DMA_BUF_SYNC_RW) == 0) {
        return failed(EINVAL);
    }
    if (ends && !started) { return failed(EINVAL); } // as udmabuf
    const bool writes = (flags & DMA_BUF_SYNC_WRITE) != 0;
    const bool blocks = !ends && !pending(writes).empty();
    started = true;
    log += log.empty() ? "" : " ";
    log += blocks ? "BLOCKED_START(" : ends ? "END(" : "START(";
    log += (flags & DMA_BUF_SYNC_READ) != 0 ? "R" : "";
    log += writes ? "W)" : ")";
    return 0;
}

int dma_buf::export_fences(dma_buf_export_sync_file& r) const {
    if ((r.flags & ~std::uint32_t{DMA_BUF_SYNC_RW}) != 0 || r.flags == 0) { return failed(EINVAL); }
    r.fd = make_sync_file(pending((r.flags & DMA_BUF_SYNC_WRITE) != 0), "exported");
    return r.fd < 0 ? -1 : 0;
}

int dma_buf::import_fences(const dma_buf_import_sync_file& r) {
    if ((r.flags & ~std::uint32_t{DMA_BUF_SYNC_RW}) != 0 || r.flags == 0) { return failed(EINVAL); }
    const auto file = kernel::find(the_kernel().files, r.fd);
    if (file == nullptr) { return failed(EINVAL); }
    for (const auto& p : file->parts) { uses.push_back({p, (r.flags & DMA_BUF_SYNC_WRITE) != 0}); }
    return 0;
}

int device::request(unsigned long request, void* argument) {
    switch (request) {
    case UDMABUF_CREATE: return make_udmabuf(*static_cast<const udmabuf_create*>(argument));
    case DMA_HEAP_IOCTL_ALLOC: return make_in_heap(*static_cast<dma_heap_allocation_data*>(argument));
    default: return not_mine;
    }
}

int device::make_udmabuf(const udmabuf_create& r) const {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const int seals = ::fcntl(static_cast<int>(r.memfd), F_GET_SEALS);
    struct stat info {};
    if (::fstat(static_cast<int>(r.memfd), &info) != 0) { return failed(EBADFD); }
    const bool whole = r.offset % page == 0 && r.size % page == 0 && r.size > 0;
    const bool inside = r.offset + r.size <= static_cast<std::uint64_t>(info.st_size);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || (seals & F_SEAL_WRITE) != 0 || !whole || !inside) {
        return failed(EINVAL);
    }
    return make_dma_buf(static_cast<std::size_t>(r.size), "udmabuf");
}

int device::make_in_heap(dma_heap_allocation_data& r) const {
    if (r.fd != 0 || (r.fd_flags & ~std::uint32_t{DMA_HEAP_VALID_FD_FLAGS}) != 0 || r.heap_flags != 0) {
        return failed(EINVAL);
    }
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto size = static_cast<std::size_t>((r.len + page - 1) / page * page);
    const int fd = make_dma_buf(size, path.substr(path.rfind('/') + 1));
    if (fd < 0) { return -1; }
    r.fd = static_cast<std::uint32_t>(fd);
    return 0;
}

/// Returns: a descriptor of a file with this text; -1 with errno.
int open_text(const std::string& text) {
    const int fd = ::memfd_create("fake text", MFD_CLOEXEC);
    if (fd >= 0 && ::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) { std::abort(); }
    return fd;
}

/// Returns: as open; `object::not_mine` for a path that is real.
int open_path(const std::string& path) {
    kernel& k = the_kernel();
    if (const auto found = k.devices.find(path); found != k.devices.end()) {
        if (found->second->open_error != 0) { return failed(found->second->open_error); }
        const int fd = open_text({});
        if (fd >= 0) { k.opened[identity_of(fd)] = found->second; }
        return fd;
    }
    constexpr std::string_view fdinfo = "/proc/self/fdinfo/";
    if (!path.starts_with(fdinfo)) { return object::not_mine; }
    const auto buffer = kernel::find(k.buffers, std::atoi(path.c_str() + fdinfo.size()));
    if (buffer == nullptr) { return object::not_mine; }
    std::string text = "pos:\t0\nflags:\t02\nmnt_id:\t1\nsize:\t" + std::to_string(buffer->size) +
                       "\ncount:\t1\nexp_name:\t" + buffer->exporter + "\n" +
                       (buffer->name.empty() ? "" : "name:\t" + buffer->name + "\n");
    return open_text(k.liar == nullptr ? text : k.liar->change_fdinfo(std::move(text)));
}

timespec to_timespec(int milliseconds) { return {milliseconds / 1000, milliseconds % 1000 * 1'000'000L}; }

/// Answers for the fake dma-bufs among the entries. Returns: how many are ready; -1 when there are none.
/// `real` becomes the entries without them.
int poll_fakes(pollfd* entries, nfds_t count, std::vector<pollfd>& real) {
    kernel& k = the_kernel();
    const std::lock_guard guard{k.lock};
    int ready = -1;
    real.assign(entries, entries + count);
    for (nfds_t i = 0; i < count; ++i) {
        const auto buffer = kernel::find(k.buffers, entries[i].fd);
        if (buffer == nullptr) { continue; }
        entries[i].revents = static_cast<short>(buffer->readiness() & entries[i].events);
        ready = std::max(ready, 0) + (entries[i].revents != 0 ? 1 : 0);
        real[i].fd = -1;
    }
    return ready;
}

/// A poll in which there are fakes: looked at every millisecond until something is ready.
int poll_mixed(pollfd* entries, nfds_t count, int timeout) {
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
        std::vector<pollfd> real;
        const int fakes = poll_fakes(entries, count, real);
        const timespec none{};
        const int others = ::ppoll(real.data(), count, &none, nullptr);
        if (others < 0) { return others; }
        for (nfds_t i = 0; i < count; ++i) {
            if (real[i].fd >= 0) { entries[i].revents = real[i].revents; }
        }
        const bool late =
            timeout >= 0 && std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds{timeout};
        if (fakes + others > 0 || late) { return fakes + others; }
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
}

/// Whether a poll with a fake in it is to fail, and with which errno.
int refusal_of_poll(pollfd* entries, nfds_t count) {
    const kernel& k = the_kernel();
    const std::lock_guard guard{the_kernel().lock};
    if (k.liar == nullptr) { return 0; }
    const bool any =
        std::any_of(entries, entries + count, [&](const pollfd& e) { return k.find_any(e.fd) != nullptr; });
    return any ? k.liar->refuse_poll() : 0;
}

/// What a poll has found, as the meddler has it. Returns: as poll.
int change_readiness(pollfd* entries, nfds_t count, int result) {
    const kernel& k = the_kernel();
    const std::lock_guard guard{the_kernel().lock};
    if (k.liar == nullptr || result < 0) { return result; }
    for (nfds_t i = 0; i < count; ++i) {
        pollfd& e = entries[i];
        if (k.find_any(e.fd) != nullptr) { e.revents = k.liar->change_readiness(e.events, e.revents); }
    }
    return static_cast<int>(std::count_if(entries, entries + count, [](const pollfd& e) { return e.revents != 0; }));
}

} // namespace fake

using fake::the_kernel;

void meddle_with(meddler* m) {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().liar = m;
}

void forget_fakes() {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().files.clear();
    the_kernel().buffers.clear();
    the_kernel().opened.clear();
}

void inject(int fd, unsigned long request, int error, int times, int skipped) {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().find_any(fd)->injections.push_back({request, error, times, skipped});
}

int injections_left(int fd) {
    const std::lock_guard guard{the_kernel().lock};
    int sum = 0;
    for (const auto& i : the_kernel().find_any(fd)->injections) { sum += i.times; }
    return sum;
}

std::size_t open_descriptors() {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().reap();
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    const auto count = static_cast<std::size_t>(std::distance(begin(all), end(all)));
    return count - 1 - the_kernel().files.size(); // one is the folder's
}

fake_fence::fake_fence(std::string_view timeline)
    : point_{std::make_shared<fake::point>(fake::point{std::string{timeline}, 0, 0})} {}

void fake_fence::signal() const {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().end(*point_, 1);
}

void fake_fence::fail(int error) const {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().end(*point_, -error);
}

dmasync::fence fake_fence::file(std::string_view name) const {
    dmasync::unique_fd fd;
    {
        const std::lock_guard guard{the_kernel().lock};
        fd.reset(fake::make_sync_file({point_}, name));
    }
    std::error_code ec;
    return dmasync::fence::adopt(std::move(fd), ec);
}

fake_dma_buf::fake_dma_buf(dmasync::unique_fd fd) : fd_{std::make_shared<dmasync::unique_fd>(std::move(fd))} {}

fake_dma_buf::fake_dma_buf(std::size_t size, std::string_view exporter)
    : fake_dma_buf{[&] {
          const std::lock_guard guard{the_kernel().lock};
          return dmasync::unique_fd{fake::make_dma_buf(size, exporter)};
      }()} {}

fake_dma_buf fake_dma_buf::of(int fd) { return fake_dma_buf{dmasync::unique_fd{::fcntl(fd, F_DUPFD_CLOEXEC, 0)}}; }

dmasync::unique_fd fake_dma_buf::duplicate() const { return dmasync::unique_fd{::fcntl(fd(), F_DUPFD_CLOEXEC, 0)}; }

namespace {

std::shared_ptr<fake::dma_buf> buffer_of(int fd) { return fake::kernel::find(the_kernel().buffers, fd); }

dmasync::unique_fd reopen(int fd, int flags) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return dmasync::unique_fd{::open(path.c_str(), flags | O_CLOEXEC)};
}

} // namespace

dmasync::unique_fd fake_dma_buf::unmappable() const { return reopen(fd(), O_WRONLY); }

dmasync::unique_fd fake_dma_buf::read_only() const { return reopen(fd(), O_RDONLY); }

fake_fence fake_dma_buf::add_fence(dmasync::access_mode a) const {
    const std::lock_guard guard{the_kernel().lock};
    fake_fence f;
    buffer_of(fd())->uses.push_back({f.point_, is_write(a)});
    return f;
}

std::size_t fake_dma_buf::pending(dmasync::access_mode a) const {
    const std::lock_guard guard{the_kernel().lock};
    return buffer_of(fd())->pending(is_write(a)).size();
}

std::string fake_dma_buf::log() const {
    const std::lock_guard guard{the_kernel().lock};
    return buffer_of(fd())->log;
}

void fake_dma_buf::clear_log() const {
    const std::lock_guard guard{the_kernel().lock};
    buffer_of(fd())->log.clear();
}

std::string fake_dma_buf::name() const {
    const std::lock_guard guard{the_kernel().lock};
    return buffer_of(fd())->name;
}

fake_device::fake_device(std::string path, int open_error) : path_{std::move(path)} {
    auto device = std::make_shared<fake::device>();
    device->path = path_;
    device->open_error = open_error;
    device_ = device;
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().devices[path_] = std::move(device);
}

fake_device::~fake_device() {
    const std::lock_guard guard{the_kernel().lock};
    the_kernel().devices.erase(path_);
}

void fake_device::inject(unsigned long request, int error, int times) const {
    const std::lock_guard guard{the_kernel().lock};
    device_->injections.push_back({request, error, times, 0});
}

} // namespace support

namespace {

// Where `long` has 32 bits, the kernel has calls of their own for what is larger.
long real_fstatfs(int fd, struct statfs* info) noexcept {
#if defined(SYS_fstatfs64)
    return ::syscall(SYS_fstatfs64, fd, sizeof(*info), info);
#else
    return ::syscall(SYS_fstatfs, fd, info);
#endif
}

off_t real_lseek(int fd, off_t offset, int whence) noexcept {
#if defined(SYS__llseek)
    loff_t result = 0;
    const auto bits = static_cast<std::uint64_t>(offset);
    const auto high = static_cast<unsigned long>(bits >> 32U);
    return ::syscall(SYS__llseek, fd, high, static_cast<unsigned long>(bits), &result, whence) == 0 ? result : -1;
#else
    return ::syscall(SYS_lseek, fd, offset, whence);
#endif
}

} // namespace

// What the program calls instead of the C library. Real calls are made by syscall(2) or by a sibling of the function.
// NOLINTBEGIN(cert-dcl50-cpp,readability-inconsistent-declaration-parameter-name): the C library's declarations
extern "C" {

int ioctl(int fd, unsigned long request, ...) noexcept {
    va_list list;
    va_start(list, request);
    void* argument = va_arg(list, void*);
    va_end(list);
    {
        using namespace support::fake;
        const std::lock_guard guard{the_kernel().lock};
        if (const auto target = the_kernel().find_any(fd)) {
            const int result = answer(*target, request, argument);
            if (result != object::not_mine) { return result; }
        }
    }
    return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}

int poll(pollfd* entries, nfds_t count, int timeout) {
    using namespace support::fake;
    if (const int error = refusal_of_poll(entries, count); error != 0) { return failed(error); }
    std::vector<pollfd> real;
    if (poll_fakes(entries, count, real) >= 0) {
        return change_readiness(entries, count, poll_mixed(entries, count, timeout));
    }
    const timespec limit = to_timespec(timeout);
    return change_readiness(entries, count, ::ppoll(entries, count, timeout < 0 ? nullptr : &limit, nullptr));
}

int fstatfs(int fd, struct statfs* info) noexcept {
    const long result = real_fstatfs(fd, info);
    using namespace support::fake;
    const std::lock_guard guard{the_kernel().lock};
    if (result == 0 && kernel::find(the_kernel().buffers, fd) != nullptr) {
        support::meddler* const liar = the_kernel().liar;
        if (liar == nullptr || liar->looks_like_dma_buf()) { info->f_type = 0x444d4142; }
    }
    return static_cast<int>(result);
}

off_t lseek(int fd, off_t offset, int whence) noexcept {
    const off_t result = real_lseek(fd, offset, whence);
    using namespace support::fake;
    const std::lock_guard guard{the_kernel().lock};
    support::meddler* const liar = the_kernel().liar;
    if (liar == nullptr || result < 0 || kernel::find(the_kernel().buffers, fd) == nullptr) { return result; }
    const long long changed = liar->change_size(result);
    return changed < 0 ? failed(static_cast<int>(-changed)) : changed;
}

int open(const char* path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    const bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    const mode_t mode = creates ? va_arg(list, mode_t) : 0;
    va_end(list);
    {
        using namespace support::fake;
        const std::lock_guard guard{the_kernel().lock};
        const int fd = open_path(path);
        if (fd != object::not_mine) { return fd; }
    }
    return ::openat(AT_FDCWD, path, flags, mode);
}

} // extern "C"
// NOLINTEND(cert-dcl50-cpp,readability-inconsistent-declaration-parameter-name)
