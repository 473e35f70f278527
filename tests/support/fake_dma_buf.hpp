// SPDX-License-Identifier: MIT
#pragma once
/// \file fake_dma_buf.hpp  Dma-bufs, fences and the devices that make them, without a kernel that has any.
///
/// fake_dma_buf.cpp replaces ioctl, poll, fstatfs, lseek and open in the program it is linked into. Calls that concern a fake are
/// answered as the kernel would; all others are made. A fake dma-buf is a memfd, so it can be mapped, duplicated and
/// sent; a fake fence is a socket, so epoll, io_uring and poll see it become readable. All of it is thread-safe.
///
///     const support::fake_dma_buf camera{4096};
///     buffer b = media.import(camera.duplicate(), "camera");
///
///     const support::fake_fence work = camera.add_fence(access_mode::dma_write);   // a device writes: readers have to wait
///     work.signal();                                                          // or work.fail(EIO);
///
///     CHECK(camera.log() == "START(R) END(R)");          // what was done by DMA_BUF_IOCTL_SYNC; "BLOCKED_START(R)" for
///                                                        // one that a real kernel would have blocked in
///     camera.inject(DMA_BUF_IOCTL_SYNC, EINTR, 5);       // the next five fail; after that it works
///     camera.inject(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, ENOTTY, support::always);     // a kernel before 6.0
///     CHECK(camera.pending(access_mode::write) == 1);         // fences that a writer has to wait for, imported ones too
///
///     const support::fake_fence one;                     // of no buffer
///     const fence f = one.file();                        // a sync_file of it; as many as wanted
///     support::inject(f.fd(), SYNC_IOC_FILE_INFO, ENOMEM);
///
///     const support::fake_device heap{"/dev/dma_heap/system"};          // allocates fakes, as long as it is in scope
///     const support::fake_device none{"/dev/udmabuf", ENOENT};          // cannot be opened
///     auto made = support::fake_dma_buf::of(b.fd());                    // the fake that a device has made
///
///     const std::size_t before = support::open_descriptors();           // without those that the fakes need themselves
///
///     struct : support::meddler { ... } liar;
///     const support::meddling scope{liar};                              // makes other answers of those of the fakes
///
/// Not like the kernel: a fake cannot be watched by epoll (watch its exported fence, as the library does); START does not
/// block; a udmabuf does not share memory with its memfd; a mapping does not fail unless asked to (`unmappable`).

#include <dmasync/access_mode.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/unique_fd.hpp>

#include <climits>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/sync_file.h>
#include <linux/udmabuf.h>

namespace support {

namespace fake {
struct point;
struct object;
} // namespace fake

inline constexpr int always = INT_MAX;

/// Has the next `times` of these ioctl requests to the fake behind `fd` fail, after `skipped` more that work.
void inject(int fd, unsigned long request, int error, int times = 1, int skipped = 0);

/// How many failures that were injected there have not happened yet.
[[nodiscard]] int injections_left(int fd);

/// The open descriptors of this process, without those that keep the fakes going.
[[nodiscard]] std::size_t open_descriptors();

/// Stands between the fakes and their callers, and may have them say anything at all. Called while no other thread asks
/// a fake, so it must not ask one itself; it may make, duplicate and close descriptors.
class meddler {
public:
    meddler() = default;
    meddler(const meddler&) = delete;
    meddler& operator=(const meddler&) = delete;
    virtual ~meddler() = default;

    /// A request is about to be made. Returns: the errno that it fails with; 0 to have the fake answer it.
    virtual int refuse_request(unsigned long /*request*/, const void* /*argument*/) { return 0; }

    /// A fake has answered. Returns: what ioctl(2) does. A descriptor that was made belongs to the one that gets the answer.
    virtual int change_answer(unsigned long /*request*/, void* /*argument*/, int result) { return result; }

    /// A request to a device node that no fake knows. Returns: as ioctl(2), with errno; `ioctl_is_real` to have it made.
    virtual int answer_unknown(unsigned long /*request*/, void* /*argument*/) { return ioctl_is_real; }
    static constexpr int ioctl_is_real = -2;

    /// Returns: the errno that a poll(2) with fakes in it fails with; 0 to have it done.
    virtual int refuse_poll() { return 0; }

    /// One fake has been polled. Returns: what poll(2) tells of it.
    virtual short change_readiness(short /*events*/, short revents) { return revents; }

    /// fstatfs(2), lseek(2) and /proc/self/fdinfo of a fake dma-buf.
    virtual bool looks_like_dma_buf() { return true; }
    virtual long long change_size(long long size) { return size; } ///< below zero: fails with this errno, negated
    virtual std::string change_fdinfo(std::string text) { return text; }
};

/// Has `m` meddle with all the fakes; nothing, when null.
void meddle_with(meddler* m);

/// The same while it is in scope.
class meddling {
public:
    explicit meddling(meddler& m) { meddle_with(&m); }
    meddling(const meddling&) = delete;
    meddling& operator=(const meddling&) = delete;
    ~meddling() { meddle_with(nullptr); }
};

/// Lets go of the fakes whose descriptors are closed, all of them now. For programs that make millions.
void forget_fakes();

/// A piece of a device's work. Pending until the test ends it; copies are the same piece.
class fake_fence {
public:
    explicit fake_fence(std::string_view timeline = "fake timeline");

    void signal() const; ///< it ends well
    void fail(int error) const;

    /// A sync_file of it.
    [[nodiscard]] dmasync::fence file(std::string_view name = "fake") const;

private:
    friend class fake_dma_buf;
    std::shared_ptr<fake::point> point_;
};

/// A dma-buf. Copies are the same one; it goes on when they are gone, as long as a descriptor is open.
class fake_dma_buf {
public:
    explicit fake_dma_buf(std::size_t size = 4096, std::string_view exporter = "fake");

    /// The fake behind a descriptor.
    [[nodiscard]] static fake_dma_buf of(int fd);

    [[nodiscard]] int fd() const { return fd_->get(); }
    [[nodiscard]] dmasync::unique_fd duplicate() const;
    [[nodiscard]] dmasync::unique_fd unmappable() const; ///< a descriptor that mmap refuses: EACCES
    [[nodiscard]] dmasync::unique_fd read_only() const;  ///< one that can be mapped for reading

    /// A device begins to work on the buffer.
    [[nodiscard]] fake_fence add_fence(dmasync::access_mode a) const;

    /// How many fences an access of this kind has to wait for.
    [[nodiscard]] std::size_t pending(dmasync::access_mode a) const;

    /// The starts and ends of CPU access that were done so far: START(R), START(RW), END(R), END(RW); BLOCKED_START(...)
    /// for one with fences to wait for. Those that failed are not in it.
    [[nodiscard]] std::string log() const;
    void clear_log() const;

    /// As given by DMA_BUF_SET_NAME.
    [[nodiscard]] std::string name() const;

    void inject(unsigned long request, int error, int times = 1, int skipped = 0) const {
        support::inject(fd(), request, error, times, skipped);
    }

private:
    explicit fake_dma_buf(dmasync::unique_fd fd);

    std::shared_ptr<dmasync::unique_fd> fd_;
};

/// A device node that makes dma-bufs: /dev/udmabuf, or one in /dev/dma_heap. Replaces the real one while in scope.
class fake_device {
public:
    explicit fake_device(std::string path, int open_error = 0);
    fake_device(const fake_device&) = delete;
    fake_device& operator=(const fake_device&) = delete;
    ~fake_device();

    /// Has the next `times` of these requests to it fail.
    void inject(unsigned long request, int error, int times = 1) const;

private:
    std::string path_;
    std::shared_ptr<fake::object> device_;
};

} // namespace support
