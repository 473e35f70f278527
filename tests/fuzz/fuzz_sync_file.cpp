// SPDX-License-Identifier: MIT
// Whatever SYNC_IOC_FILE_INFO, SYNC_IOC_MERGE and poll(2) may answer of a fence, honest or not.
// Input: from the front what is asked, from the back what is answered to each request.
#include <dmasync/fence.hpp>

#include "input.hpp"

#include <dmasync/manual_loop.hpp>

#include <support/fake_dma_buf.hpp>
#include <support/probe.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <linux/sync_file.h>
#include <sys/eventfd.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// Answers by the bytes of the input. Zeros, as when there are none left, leave the truth as it is.
class kernel : public support::meddler {
public:
    explicit kernel(fuzz::input& in) noexcept : in_{in} {}

    int refuse_request(unsigned long request, const void* argument) override {
        if (request == SYNC_IOC_FILE_INFO) { room_ = static_cast<const sync_file_info*>(argument)->num_fences; }
        constexpr std::array errors{EINTR, EINVAL, ENOTTY, ENOMEM, EBADF, EFAULT, EIO, ENOSPC};
        const std::uint8_t choice = in_.last_byte();
        return choice >= 0xc0 ? errors.at(choice % errors.size()) : 0;
    }

    int change_answer(unsigned long request, void* argument, int result) override {
        if (result >= 0 && request == SYNC_IOC_FILE_INFO) { change_info(*static_cast<sync_file_info*>(argument)); }
        if (result >= 0 && request == SYNC_IOC_MERGE) { change_merged(*static_cast<sync_merge_data*>(argument)); }
        return result;
    }

    int refuse_poll() override { return in_.last_byte() >= 0xf0 ? EINTR : 0; }

    short change_readiness(short /*events*/, short revents) override {
        const std::uint8_t choice = in_.last_byte();
        return (choice & 0x80U) != 0 ? static_cast<short>(choice & 0x7fU) : revents;
    }

    /// The last answer that came with points.
    sync_file_info file{};

private:
    void change_info(sync_file_info& i) {
        const unsigned what = in_.last_byte();
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's interface
        auto* first = reinterpret_cast<sync_fence_info*>(static_cast<std::uintptr_t>(i.sync_fence_info));
        if (room_ > 0) { change_point(*first, what); }
        if ((what & 1U) != 0) { overwrite(&i.status, sizeof i.status); }
        if ((what & 2U) != 0) { overwrite(i.name, sizeof i.name); }
        if ((what & 4U) != 0) { i.num_fences = in_.last_byte(); }
        if ((what & 8U) != 0) { overwrite(&i.num_fences, sizeof i.num_fences); }
        if (first != nullptr) { file = i; }
    }

    void change_point(sync_fence_info& p, unsigned what) {
        if ((what & 16U) != 0) { overwrite(&p.status, sizeof p.status); }
        if ((what & 32U) != 0) { overwrite(&p.timestamp_ns, sizeof p.timestamp_ns); }
        if ((what & 64U) != 0) { overwrite(p.obj_name, sizeof p.obj_name); }
        if ((what & 128U) != 0) { overwrite(p.driver_name, sizeof p.driver_name); }
    }

    /// Numbers that are no descriptors. Any other the library has to take for one.
    void change_merged(sync_merge_data& d) {
        const unsigned what = in_.last_byte();
        if (what < 0x80) { return; }
        const unique_fd honest{d.fence};
        d.fence = (what & 1U) != 0 ? -1 : -0x7fff'ffff - 1;
    }

    void overwrite(void* to, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) { static_cast<std::uint8_t*>(to)[i] = in_.last_byte(); }
    }

    fuzz::input& in_;
    std::uint32_t room_ = 0; // for how many points the caller has room
};

bool is_errno(const std::error_code& ec) noexcept {
    constexpr int largest = 4095; // of the kernel's
    return ec.category() == std::system_category() && ec.value() > 0 && ec.value() <= largest;
}

void check_point(const fence_info::point& p) {
    FUZZ_REQUIRE(p.driver.size() <= 32 && p.timeline.size() <= 32);
    FUZZ_REQUIRE((p.state == fence_state::failed) == static_cast<bool>(p.error));
    FUZZ_REQUIRE(!p.error || is_errno(p.error));
    FUZZ_REQUIRE(p.state != fence_state::pending || !p.ended);
}

void check_info(const fence& f, const kernel& k) {
    std::error_code ec;
    const fence_info i = f.info(ec);
    if (ec) {
        FUZZ_REQUIRE(ec == errc::out_of_memory || is_errno(ec));
        FUZZ_REQUIRE(i.name.empty() && i.points.empty());
        return;
    }
    std::string name(k.file.name, sizeof k.file.name);
    name.resize(std::min(name.find('\0'), name.size()));
    FUZZ_REQUIRE(!f || i.name == name);
    FUZZ_REQUIRE(i.points.size() <= k.file.num_fences || !f);
    for (const fence_info::point& p : i.points) { check_point(p); }
    const bool pending =
        std::any_of(i.points.begin(), i.points.end(), [](const auto& p) { return p.state == fence_state::pending; });
    FUZZ_REQUIRE((i.state == fence_state::pending) == pending);
    FUZZ_REQUIRE((i.state == fence_state::failed) == static_cast<bool>(i.error));
    FUZZ_REQUIRE(!i.error || is_errno(i.error));
}

struct waiting {
    std::error_code ec = errc::closed; // of no wait
    probe coroutine;
};

probe wait(const fence& f, event_loop& loop, wait_options options, std::error_code& ec) {
    co_await f.wait(loop, options, ec);
}

/// The fences of a run, and what can be asked of them.
class program {
public:
    explicit program(fuzz::input& in) : in_{in}, kernel_{in} {
        for (fence& f : fences_) { f = work_[0].file(); }
        support::meddle_with(&kernel_);
    }
    program(const program&) = delete;
    program& operator=(const program&) = delete;

    /// Whatever was said before: once the kernel says what is, every wait ends.
    ~program() {
        support::meddle_with(nullptr);
        for (const support::fake_fence& w : work_) { w.signal(); }
        loop_.run_ready();
        for (waiting& w : waits_) { check_wait(w); }
        for (const fence& f : fences_) { FUZZ_REQUIRE(f.state() != fence_state::pending); }
    }

    void step() {
        const unsigned operation = in_.byte();
        fence& f = fences_.at(operation / 16 % fences_.size());
        const support::fake_fence& work = work_.at(operation / 64 % work_.size());
        switch (operation % 16) {
        case 0: check_info(f, kernel_); break;
        case 1: check_error(f); break;
        case 2: static_cast<void>(f.ended_at()); break;
        case 3: replace(f, work.file()); break;
        case 4: work.signal(); break;
        case 5: work.fail(1 + in_.byte()); break;
        case 6: merge(f); break;
        case 7: start_wait(f); break;
        case 8: loop_.advance(std::chrono::milliseconds{in_.byte()}); break;
        case 9: adopt(f); break;
        case 10: duplicate(f); break;
        case 11: check_outcome(f.blocking_wait(event_loop::time_point{})); break;
        default: loop_.poll(); break;
        }
    }

private:
    static void check_outcome(const std::error_code& ec) {
        FUZZ_REQUIRE(!ec || ec == errc::timed_out || ec == std::errc::io_error || is_errno(ec));
    }

    static void check_wait(const waiting& w) {
        if (w.ec == errc::closed) { return; }
        FUZZ_REQUIRE(w.coroutine.done());
        check_outcome(w.ec);
    }

    void check_error(const fence& f) {
        const std::error_code ec = f.error();
        FUZZ_REQUIRE(!ec || is_errno(ec));
    }

    /// A fence that is waited for stays where it is.
    [[nodiscard]] bool is_waited_for(const fence& f) const {
        const auto& w = waits_.at(static_cast<std::size_t>(&f - fences_.data()));
        return w.ec != errc::closed && !w.coroutine.done();
    }

    void replace(fence& f, fence by) {
        if (!is_waited_for(f)) { f = std::move(by); }
    }

    void merge(fence& f) {
        std::error_code ec = errc::closed;
        fence merged = fence::merge(f, fences_.back(), "merged", ec);
        FUZZ_REQUIRE(ec ? !merged && is_errno(ec) : static_cast<bool>(merged) == (f || fences_.back()));
        if (!ec) { replace(f, std::move(merged)); }
    }

    void start_wait(const fence& f) {
        if (is_waited_for(f)) { return; }
        waiting& w = waits_.at(static_cast<std::size_t>(&f - fences_.data()));
        w.coroutine.destroy();
        wait_options options;
        if (const unsigned ms = in_.byte(); ms < 0x80) {
            options.deadline = loop_.now() + std::chrono::milliseconds{ms};
        }
        w.coroutine = wait(f, loop_, options, w.ec);
        if (w.ec == errc::closed) { w.ec.clear(); }
    }

    void adopt(fence& f) {
        std::error_code ec;
        unique_fd fd = (in_.byte() & 1U) != 0 ? unique_fd{::eventfd(0, EFD_CLOEXEC)} : unique_fd{};
        const fence adopted = fence::adopt(std::move(fd), ec);
        FUZZ_REQUIRE(!adopted && (ec == errc::not_a_fence || ec == std::errc::bad_file_descriptor));
        if (!is_waited_for(f)) { f = fence::adopt(f.release(), ec); } // closed when the kernel says that it is no fence
    }

    void duplicate(fence& f) {
        std::error_code ec;
        replace(f, f.duplicate(ec));
        FUZZ_REQUIRE(!ec);
    }

    fuzz::input& in_;
    kernel kernel_;
    manual_loop loop_;
    std::array<support::fake_fence, 3> work_;
    std::array<fence, 3> fences_;
    std::array<waiting, 3> waits_; // for the fence of the same number
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::size_t before = support::open_descriptors();
    {
        fuzz::input in{data, std::min<std::size_t>(size, 1024)};
        program p{in};
        while (!in.empty()) { p.step(); }
    }
    FUZZ_REQUIRE(support::open_descriptors() == before);
    support::forget_fakes();
    return 0;
}
