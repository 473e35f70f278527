// SPDX-License-Identifier: MIT
// A domain of dma-bufs whose kernel and devices answer anything: descriptors that are none, sizes, readiness, errors.
// Input: from the front a program of operations, from the back what each request is answered.
#include <dmasync/domain.hpp>

#include "input.hpp"

#include <dmasync/fence.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>

#include <support/fake_dma_buf.hpp>
#include <support/probe.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// Answers by the bytes of the input. Zeros, as when there are none left, leave the truth as it is.
class kernel : public support::meddler {
public:
    explicit kernel(fuzz::input& in) noexcept : in_{in} {}

    /// Whether something else than the truth has been said.
    bool lied = false;

    int refuse_request(unsigned long /*request*/, const void* /*argument*/) override {
        constexpr std::array errors{EINTR, EAGAIN, EINVAL, ENOTTY, ENOMEM, EIO,   EBADF,  EACCES,
                                    EPERM, ENODEV, ENXIO,  ENOENT, ENOSPC, EBUSY, EMFILE, EOPNOTSUPP};
        const unsigned choice = in_.last_byte();
        return choice >= 0xc0 ? lie(errors.at(choice % errors.size())) : 0;
    }

    int change_answer(unsigned long request, void* argument, int result) override {
        if (result < 0) { return result; }
        switch (request) {
        case DMA_BUF_IOCTL_EXPORT_SYNC_FILE:
            change_descriptor(static_cast<dma_buf_export_sync_file*>(argument)->fd);
            break;
        case SYNC_IOC_MERGE: change_merged(static_cast<sync_merge_data*>(argument)->fence); break;
        case SYNC_IOC_FILE_INFO: change_status(static_cast<sync_file_info*>(argument)->status); break;
        case UDMABUF_CREATE: change_descriptor(result); break;
        case DMA_HEAP_IOCTL_ALLOC: {
            auto& made = *static_cast<dma_heap_allocation_data*>(argument);
            int fd = static_cast<int>(made.fd);
            change_descriptor(fd);
            made.fd = static_cast<std::uint32_t>(fd);
            break;
        }
        default: break;
        }
        return result;
    }

    int refuse_poll() override {
        const unsigned choice = in_.last_byte();
        return choice >= 0xf0 ? lie((choice & 1U) != 0 ? EINTR : ENOMEM) : 0;
    }

    short change_readiness(short /*events*/, short revents) override {
        const unsigned choice = in_.last_byte();
        return choice >= 0xc0 ? lie(static_cast<short>(choice & 0x3fU)) : revents;
    }

    bool looks_like_dma_buf() override { return in_.last_byte() < 0xe0 || lie(false); }

    long long change_size(long long size) override {
        const std::array<long long, 8> sizes{0, 1, size / 2, size + 1, size + (1 << 20), 1LL << 62, -ESPIPE, -EINVAL};
        const unsigned choice = in_.last_byte();
        return choice >= 0xc0 ? lie(sizes.at(choice % sizes.size())) : size;
    }

    std::string change_fdinfo(std::string text) override {
        switch (const unsigned choice = in_.last_byte(); choice) {
        case 0xf0: return lie(std::string{"exp_name:\tsystem"}); // without an end of line
        case 0xf1: return lie(std::string{"exp_name:\t\n"});
        case 0xf2: return lie(std::string(2000, '\n') + text);
        case 0xf3: return lie("exp_name:" + std::string(2000, 'x'));
        default: return choice > 0xf3 ? lie(text.substr(0, text.size() * (choice - 0xf3) / 16)) : text;
        }
    }

private:
    template <class Answer>
    Answer lie(Answer a) {
        lied = true;
        return a;
    }

    /// What a request for a descriptor is answered instead: a number that is none, or a descriptor of something else.
    void change_descriptor(int& fd) {
        const unsigned choice = in_.last_byte();
        if (choice < 0xc0) { return; }
        const unique_fd honest{fd};
        constexpr std::array numbers{-1, -0x7fff'ffff - 1, 0x7fff'fff0};
        fd = lie(choice % 8 < numbers.size() ? numbers.at(choice % 8) : make_other(choice % 8).release());
    }

    static unique_fd make_other(unsigned kind) {
        switch (kind) {
        case 3: return unique_fd{::eventfd(1, EFD_CLOEXEC)};
        case 4: return unique_fd{::openat(AT_FDCWD, "/proc/self", O_PATH | O_CLOEXEC)};
        default: break;
        }
        unique_fd memory{::memfd_create("no dma-buf", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
        FUZZ_REQUIRE(::ftruncate(memory.get(), kind == 5 ? 0 : 1 << 16) == 0);
        return memory;
    }

    /// Numbers that are no descriptors. Any other the library has to take for one.
    void change_merged(int& fd) {
        const unsigned choice = in_.last_byte();
        if (choice < 0xe0) { return; }
        const unique_fd honest{fd};
        fd = lie((choice & 1U) != 0 ? -1 : -0x7fff'ffff - 1);
    }

    void change_status(std::int32_t& status) {
        const unsigned choice = in_.last_byte();
        if (choice < 0xc0) { return; }
        constexpr std::array<std::int32_t, 8> values{0, 1, 2, -EIO, -4095, -4096, -0x7fff'ffff - 1, 0x7fff'ffff};
        status = lie(values.at(choice % values.size()));
    }

    fuzz::input& in_;
};

/// Whether a failure is one of the documented ones: of the library's own judgement, or what a kernel may say. What only
/// means "again" is never told.
bool is_expected(const std::error_code& ec, std::initializer_list<errc> documented) {
    constexpr int largest_errno = 4095;
    if (!ec) { return true; }
    if (ec.category() == error_category()) {
        return std::any_of(documented.begin(), documented.end(), [&](errc e) { return ec == make_error_code(e); });
    }
    return ec.value() > 0 && ec.value() <= largest_errno && ec.value() != EINTR;
}

struct use {
    buffer what;
    access_mode mode;
};

/// A hold, or a wait for one.
struct slot {
    guard held;
    std::error_code ec;
    bool waits = false;
    std::stop_source stop;
    probe coroutine;
};

class program {
public:
    explicit program(fuzz::input& in) : in_{in}, kernel_{in} { support::meddle_with(&kernel_); }
    program(const program&) = delete;
    program& operator=(const program&) = delete;
    ~program() { support::meddle_with(nullptr); }

    void step() {
        const unsigned operation = in_.byte();
        slot& s = slots_.at(operation / 32 % slots_.size());
        buffer& b = buffers_.at(operation / 64 % buffers_.size());
        switch (operation % 32) {
        case 0: import_fake(b); break;
        case 1: import_other(b); break;
        case 2: allocate(b); break;
        case 3: b = {}; break;
        case 4:
        case 5:
        case 6: lock(s); break;
        case 7: try_lock(s); break;
        case 8: unlock(s); break;
        case 9: change(s, &guard::release); break;
        case 10: change(s, &guard::downgrade); break;
        case 11: split(s); break;
        case 12: release_on_fence(s); break;
        case 13: release_on_descriptor(s); break;
        case 14: hand_to_device(s); break;
        case 15:
        case 16: add_fence(); break;
        case 17: end_fence(false); break;
        case 18: end_fence(true); break;
        case 19: publish(s); break;
        case 20: loop_.advance(std::chrono::milliseconds{in_.byte() * 8}); break;
        case 21: loop_.poll(); break;
        case 22: renew(s); break;
        case 23: s.stop.request_stop(); break;
        case 24: look_at_bytes(s); break;
        case 25: ask_for_fence(); break;
        case 26: ask_for_text(); break;
        case 27: abandon(s); break;
        default: loop_.run_ready(); break;
        }
    }

    /// Once the kernel says the truth, whatever it has said before: everything ends, and every buffer can be had.
    void settle() {
        support::meddle_with(nullptr);
        for (const support::fake_fence& f : fences_) { f.signal(); }
        for (const support::fake_fence& f : replaced_) { f.signal(); }
        for (std::size_t round = 0; round <= slots_.size(); ++round) {
            for (slot& s : slots_) { s.held = {}; }
            loop_.advance(200s); // beyond every lease, and beyond the limit of devices that are overdue
        }
        for (const slot& s : slots_) { FUZZ_REQUIRE(!s.waits); }
        for (slot& s : slots_) { s.held = {}; }
        for (const buffer& b : buffers_) {
            for (const access_mode a : {access_mode::write, access_mode::dma_write, access_mode::read}) {
                must_lock(b, a);
            }
        }
        check_counters();
        for (slot& s : slots_) { clear(s); }
        buffers_ = {};
        if (!kernel_.lied && reported_.at(0) == 0) { check_brackets(); }
    }

private:
    static constexpr std::initializer_list<errc> lock_errors{
        errc::empty_set,       errc::timed_out,   errc::cancelled,     errc::lease_expired, errc::fence_failed,
        errc::fence_timed_out, errc::not_a_fence, errc::not_a_dma_buf, errc::invalid_lease, errc::would_block};
    static constexpr std::initializer_list<errc> guard_errors{errc::not_in_set, errc::lease_expired, errc::not_locked,
                                                              errc::invalid_access, errc::not_a_dma_buf};

    // ---- buffers -----------------------------------------------------------------------------------------------------

    void import_fake(buffer& b) {
        const unsigned choice = in_.byte();
        const support::fake_dma_buf& f = fakes_.at(choice % fakes_.size());
        take(b, choice >= 0xe0 ? f.read_only() : choice >= 0xc0 ? f.unmappable() : f.duplicate());
    }

    void import_other(buffer& b) {
        switch (in_.byte() % 8) {
        case 0: return take(b, unique_fd{});
        case 1: return take(b, unique_fd{0x7fff'fff0});
        case 2: return take(b, unique_fd{::eventfd(0, EFD_CLOEXEC)});
        case 3: return take(b, unique_fd{::open("/proc/self/status", O_RDONLY | O_CLOEXEC)});
        case 4: return take(b, unique_fd{::open("/proc/self", O_RDONLY | O_CLOEXEC)});
        case 5: return take(b, fences_[0].file().release());
        case 6: return take(b, unique_fd{::memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING)});
        default: return take(b, unique_fd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)});
        }
    }

    void take(buffer& b, unique_fd fd) {
        std::error_code ec = errc::closed;
        buffer made = domain_.import(std::move(fd), "imported", ec);
        FUZZ_REQUIRE(is_expected(ec, {errc::not_a_buffer, errc::size_changed}));
        check_made(made, ec);
        if (made) { b = std::move(made); }
    }

    void allocate(buffer& b) {
        constexpr std::array<std::size_t, 8> sizes{
            0, 1, 4096, 4097, 100'000, 1U << 20U, ~std::size_t{0}, std::size_t{1} << 61U};
        const unsigned choice = in_.byte();
        allocation_report report;
        allocate_options options;
        if (choice >= 0x80) { options.from = static_cast<memory_kind>(choice / 8 % 8); } // kinds that are none, too
        options.report = &report;
        std::error_code ec = errc::closed;
        const std::size_t size = sizes.at(choice % sizes.size());
        buffer made = domain_.allocate(size, "allocated", options, ec);
        FUZZ_REQUIRE(is_expected(ec, {errc::not_a_buffer, errc::out_of_memory}));
        FUZZ_REQUIRE(report.source.has_value() == static_cast<bool>(made));
        for (const allocation_attempt& a : report.failed) {
            FUZZ_REQUIRE(a.error && is_expected(a.error, {errc::not_a_buffer}));
        }
        check_made(made, ec);
        if (!made) { return; }
        FUZZ_REQUIRE(made.size() == size && made.memory() == *report.source);
        b = std::move(made);
    }

    static void check_made(const buffer& made, const std::error_code& ec) {
        FUZZ_REQUIRE(static_cast<bool>(made) == !ec);
        FUZZ_REQUIRE(!made || (made.size() > 0 && made.fd() >= 0));
    }

    // ---- holds -------------------------------------------------------------------------------------------------------

    std::vector<use> choose_set() {
        std::vector<use> chosen;
        const unsigned choice = in_.byte();
        for (std::size_t i = 0; i < buffers_.size(); ++i) {
            std::error_code ec;
            const access_mode a = access_from_flags(in_.byte() % 8, ec);
            if ((choice >> i & 1U) != 0) { chosen.push_back({buffers_.at(i), a}); }
        }
        return chosen;
    }

    lock_options choose_options(const std::stop_token& stop) {
        const unsigned choice = in_.byte();
        lock_options o;
        o.stop = stop;
        o.lease = std::chrono::milliseconds{100 + 100 * (choice & 3U)};
        if ((choice & 4U) != 0) { o.deadline = loop_.now() + std::chrono::milliseconds{in_.byte()}; }
        if ((choice & 8U) != 0) { o.fence_timeout = std::chrono::milliseconds{in_.byte()}; }
        if ((choice & 16U) != 0) { o.fences = fences::ignore; }
        if ((choice & 32U) != 0) { o.cpu_access = cpu_access::always; }
        ignores_fences_ |= o.fences == fences::ignore;
        return o;
    }

    /// Whatever is in the way ends first, be it a hold or a wait.
    void clear(slot& s) {
        s.coroutine.destroy();
        s.held = {};
        s.ec.clear();
        s.waits = false;
        s.stop = std::stop_source{};
    }

    void abandon(slot& s) {
        if (s.waits) { clear(s); }
    }

    void lock(slot& s) {
        clear(s);
        s.waits = true;
        std::vector<use> uses = choose_set();
        const std::stop_token stop = s.stop.get_token();
        const lock_options options = choose_options(stop);
        s.coroutine = wait(s, std::move(uses), options, stop);
    }

    probe wait(slot& s, std::vector<use> uses, lock_options options, std::stop_token stop) {
        options.stop = stop; // the one that lives as long as the coroutine
        lock_set set{domain_, "fuzzed"};
        fill(set, uses);
        s.held = co_await set.lock(options, s.ec);
        check_grant(s, uses, options);
    }

    void try_lock(slot& s) {
        clear(s);
        s.waits = true;
        std::vector<use> uses = choose_set();
        const std::stop_token stop = s.stop.get_token();
        const lock_options options = choose_options(stop);
        lock_set set{domain_, "fuzzed"};
        fill(set, uses);
        s.held = set.try_lock(options, s.ec);
        check_grant(s, uses, options);
    }

    /// Leaves the uses that the set takes.
    static void fill(lock_set& set, std::vector<use>& uses) {
        std::erase_if(uses, [&](const use& u) {
            std::error_code ec;
            set.add(u.what, u.mode, ec);
            FUZZ_REQUIRE(!ec || ec == errc::wrong_domain || ec == errc::duplicate_buffer);
            return static_cast<bool>(ec);
        });
    }

    void check_grant(slot& s, const std::vector<use>& uses, const lock_options& options) {
        s.waits = false;
        FUZZ_REQUIRE(static_cast<bool>(s.held) == !s.ec);
        FUZZ_REQUIRE(is_expected(s.ec, lock_errors));
        granted_ += s.held ? 1U : 0U;
        if (!s.held || kernel_.lied || options.fences == fences::ignore) { return; }
        for (const use& u : uses) {
            if (u.what.memory() >= memory_kind::udmabuf) { // honestly recognised: it is a fake
                FUZZ_REQUIRE(support::fake_dma_buf::of(u.what.fd()).pending(u.mode) == 0);
            }
        }
    }

    void unlock(slot& s) {
        const bool held = static_cast<bool>(s.held);
        const std::error_code ec = s.held.unlock();
        FUZZ_REQUIRE(is_expected(ec, {errc::not_locked, errc::lease_expired, errc::not_a_dma_buf}));
        FUZZ_REQUIRE(!s.held && (held || ec == errc::not_locked));
    }

    void change(slot& s, void (guard::*how)(const buffer&, std::error_code&) noexcept) {
        std::error_code ec = errc::closed;
        (s.held.*how)(any_buffer(), ec);
        FUZZ_REQUIRE(is_expected(ec, guard_errors));
    }

    void split(slot& s) {
        std::error_code ec = errc::closed;
        guard part = s.held.split(any_buffer(), ec);
        FUZZ_REQUIRE(is_expected(ec, guard_errors));
        FUZZ_REQUIRE(static_cast<bool>(part) == !ec);
        slot& other = slots_.back();
        if (!part || &other == &s) { return; }
        clear(other);
        other.held = std::move(part);
    }

    void release_on_fence(slot& s) {
        const unsigned choice = in_.byte();
        fence done = choice >= 0xe0 ? fence{} : fences_.at(choice % fences_.size()).file();
        std::error_code ec = errc::closed;
        if ((choice & 0x20U) != 0) {
            s.held.release_on(any_buffer(), std::move(done), ec);
        } else {
            s.held.release_on(std::move(done), ec);
            FUZZ_REQUIRE(ec || !s.held);
        }
        FUZZ_REQUIRE(is_expected(ec, guard_errors));
    }

    /// Any descriptor at all, of drivers without fences.
    void release_on_descriptor(slot& s) {
        std::error_code ec = errc::closed;
        switch (in_.byte() % 6) {
        case 0: s.held.release_on(unique_fd{::eventfd(1, EFD_CLOEXEC)}, ec); break;
        case 1: s.held.release_on(unique_fd{::eventfd(0, EFD_CLOEXEC)}, ec); break;
        case 2: s.held.release_on(unique_fd{0x7fff'fff0}, ec); break;
        case 3: s.held.release_on(unique_fd{::openat(AT_FDCWD, "/proc/self", O_PATH | O_CLOEXEC)}, ec); break;
        case 4: s.held.release_on(unique_fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}, ec); break;
        default: s.held.release_on(unique_fd{}, ec); break;
        }
        FUZZ_REQUIRE(is_expected(ec, guard_errors));
    }

    void hand_to_device(slot& s) {
        std::error_code ec = errc::closed;
        s.held.hand_to_device(ec);
        FUZZ_REQUIRE(is_expected(ec, guard_errors));
    }

    void publish(slot& s) {
        std::error_code ec = errc::closed;
        s.held.publish(any_buffer(), fences_.at(in_.byte() % fences_.size()).file(), ec);
        FUZZ_REQUIRE(is_expected(ec, guard_errors));
    }

    void renew(slot& s) {
        std::error_code ec = errc::closed;
        static_cast<void>(s.held.renew(std::chrono::milliseconds{in_.byte()} - 16ms, ec));
        FUZZ_REQUIRE(is_expected(ec, {errc::lease_expired, errc::not_locked, errc::invalid_lease}));
    }

    /// A span is as long as its buffer, whatever lies behind it; nothing says that the memory is there.
    void look_at_bytes(slot& s) {
        const buffer& b = any_buffer();
        std::error_code ec = errc::closed;
        const std::span<const std::byte> bytes = s.held.bytes(b, ec);
        FUZZ_REQUIRE(is_expected(
            ec, {errc::not_in_set, errc::lease_expired, errc::not_locked, errc::invalid_access, errc::no_cpu_access}));
        FUZZ_REQUIRE(bytes.size() == (ec ? 0 : b.size()));
        const std::span<std::byte> writable = s.held.writable_bytes(b, ec);
        FUZZ_REQUIRE(ec || (writable.data() == bytes.data() && writable.size() == bytes.size()));
    }

    const buffer& any_buffer() { return buffers_.at(in_.byte() % buffers_.size()); }

    // ---- devices -----------------------------------------------------------------------------------------------------

    void add_fence() {
        const unsigned choice = in_.byte();
        const access_mode a = (choice & 0x80U) != 0 ? access_mode::dma_write : access_mode::dma_read;
        const support::fake_fence added = fakes_.at(choice / 4 % fakes_.size()).add_fence(a);
        replaced_.push_back(std::exchange(fences_.at(choice % fences_.size()), added));
    }

    void end_fence(bool fails) {
        const support::fake_fence& f = fences_.at(in_.byte() % fences_.size());
        fails ? f.fail(EIO) : f.signal();
    }

    void ask_for_fence() {
        const support::fake_dma_buf& f = fakes_.at(in_.byte() % fakes_.size());
        std::error_code ec = errc::closed;
        const fence exported = dma_buf::export_fence(f.fd(), access_mode::write, ec);
        FUZZ_REQUIRE(is_expected(ec, {errc::not_a_dma_buf, errc::not_a_fence}));
        FUZZ_REQUIRE(static_cast<bool>(exported) == !ec);
        static_cast<void>(dma_buf::is_idle(f.fd(), access_mode::read));
        dma_buf::import_fence(f.fd(), exported, access_mode::read, ec);
        FUZZ_REQUIRE(is_expected(ec, {errc::not_a_dma_buf}));
    }

    void ask_for_text() {
        const support::fake_dma_buf& f = fakes_.at(in_.byte() % fakes_.size());
        std::array<char, 48> text{};
        in_.fill(text.data(), in_.byte() % text.size());
        FUZZ_REQUIRE(is_expected(dma_buf::set_name(f.fd(), {text.data(), text.size()}), {errc::not_a_dma_buf}));
        FUZZ_REQUIRE(f.name().size() <= 31);
        FUZZ_REQUIRE(dma_buf::exporter(f.fd()).size() <= 1024 && dma_buf::name(f.fd()).size() <= 1024);
        std::error_code ec;
        FUZZ_REQUIRE(dma_buf::size(f.fd(), ec) == 0 || !ec);
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    void must_lock(const buffer& b, access_mode a) {
        if (!b) { return; }
        std::error_code ec;
        lock_set set{domain_};
        set.add(b, a, ec);
        const guard held = set.try_lock(ec);
        FUZZ_REQUIRE(held && !ec);
    }

    void check_counters() {
        const domain_counters c = domain_.counters();
        FUZZ_REQUIRE(c.granted_at_once + c.granted_after_wait >= granted_);
        FUZZ_REQUIRE(reported_.at(static_cast<std::size_t>(lease_event::expired)) == c.leases_expired);
        FUZZ_REQUIRE(reported_.at(static_cast<std::size_t>(lease_event::device_overdue)) == c.devices_overdue);
        FUZZ_REQUIRE(reported_.at(static_cast<std::size_t>(lease_event::device_failed)) == c.devices_failed);
    }

    /// Every start of an honest run has its end, once the buffers are gone.
    void check_brackets() {
        for (const support::fake_dma_buf& f : fakes_) {
            const std::string log = f.log();
            FUZZ_REQUIRE(count(log, "START(R)") == count(log, "END(R)"));
            FUZZ_REQUIRE(count(log, "START(RW)") == count(log, "END(RW)"));
            FUZZ_REQUIRE(ignores_fences_ || count(log, "BLOCKED") == 0);
        }
    }

    static std::size_t count(const std::string& text, const std::string& what) {
        std::size_t n = 0;
        for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) { ++n; }
        return n;
    }

    void note(const lease_report& r) {
        ++reported_.at(static_cast<std::size_t>(r.event));
        FUZZ_REQUIRE(!to_string(r).empty());
        FUZZ_REQUIRE((r.event == lease_event::device_failed) == static_cast<bool>(r.error));
    }

    fuzz::input& in_;
    kernel kernel_;
    manual_loop loop_;
    support::fake_device heap_{"/dev/dma_heap/system"};
    support::fake_device udmabuf_{"/dev/udmabuf"};
    std::array<support::fake_dma_buf, 3> fakes_{support::fake_dma_buf{4096}, support::fake_dma_buf{65536, "system"},
                                                support::fake_dma_buf{0, "odd"}};
    std::array<support::fake_fence, 4> fences_;
    std::vector<support::fake_fence> replaced_; // all that were ever put on a fake
    std::array<std::uint64_t, 3> reported_{};   // by event
    std::uint64_t granted_ = 0;
    bool ignores_fences_ = false; // some lock did
    domain domain_{
        loop_,
        {.lease = 1s, .name = "fuzzed", .report = [this](const lease_report& r) { note(r); }, .overdue_limit = 2s}};
    std::array<buffer, 4> buffers_;
    std::array<slot, 4> slots_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::size_t before = support::open_descriptors();
    {
        fuzz::input in{data, std::min<std::size_t>(size, 1024)};
        program p{in};
        while (!in.empty()) { p.step(); }
        p.settle();
    }
    FUZZ_REQUIRE(support::open_descriptors() == before);
    support::forget_fakes();
    return 0;
}
