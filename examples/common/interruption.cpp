// SPDX-License-Identifier: MIT
#include "interruption.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

namespace common {
namespace {

bool is_ignored(int signal) noexcept {
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t handled_signals() noexcept {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
        if (!is_ignored(signal)) { ::sigaddset(&set, signal); }
    }
    return set;
}

} // namespace

interruption::interruption(std::stop_source stop) : stop_{std::move(stop)} {
    const sigset_t set = handled_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) { throw std::system_error{errno, std::generic_category(), "cannot wait for signals"}; }
    watch_.fd = signals_.get();
    watch_.events = POLLIN;
    if (const std::error_code ec = loop_.watch(watch_); ec) { throw std::system_error{ec, "cannot wait for signals"}; }
    thread_ = std::jthread{[this] { loop_.run(); }};
}

interruption::~interruption() {
    loop_.stop();
    thread_.join();
    if (watch_.active) { loop_.unwatch(watch_); }
}

int interruption::signal() noexcept {
    signalfd_siginfo info{};
    if (signal_ == 0 && ::read(signals_.get(), &info, sizeof info) == sizeof info) {
        signal_ = static_cast<int>(info.ssi_signo);
    }
    return signal_;
}

void interruption::watch::ready(dmasync::work& w, dmasync::disposition d) noexcept {
    interruption& self = static_cast<watch&>(w).owner;
    if (d == dmasync::disposition::run && self.signal() != 0) { self.stop_.request_stop(); }
}

} // namespace common
