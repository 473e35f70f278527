// SPDX-License-Identifier: MIT
#include "on_signal.hpp"

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

sigset_t set_of(int signal) noexcept {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, signal);
    return set;
}

} // namespace

void block_signal(int signal) {
    const sigset_t set = set_of(signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

on_signal::on_signal(int signal, std::function<void()> act) : act_{std::move(act)} {
    const sigset_t set = set_of(signal);
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) { throw std::system_error{errno, std::generic_category(), "cannot wait for a signal"}; }
    watch_.fd = signals_.get();
    watch_.events = POLLIN;
    begin_to_watch();
    thread_ = std::jthread{[this] { loop_.run(); }};
}

on_signal::~on_signal() {
    loop_.stop();
    thread_.join();
    if (watch_.active) { loop_.unwatch(watch_); }
}

void on_signal::begin_to_watch() {
    if (const std::error_code ec = loop_.watch(watch_); ec) { throw std::system_error{ec, "cannot wait for a signal"}; }
}

void on_signal::watch::ready(dmasync::work& w, dmasync::disposition d) noexcept {
    on_signal& self = static_cast<watch&>(w).owner;
    if (d != dmasync::disposition::run) { return; }
    signalfd_siginfo info{};
    const bool came = ::read(self.signals_.get(), &info, sizeof info) == sizeof info;
    self.begin_to_watch();
    if (came) { self.act_(); }
}

} // namespace common
