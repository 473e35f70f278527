// SPDX-License-Identifier: MIT
#include "ready.hpp"

#include "fd_io.hpp"

namespace pipeline {

ready_awaitable::ready_awaitable(dmasync::event_loop& loop, int fd, short events, const std::string& name,
                                 const std::stop_token& stop)
    : loop_{loop}, name_{name}, stop_{stop} {
    watch_.fd = fd;
    watch_.events = events;
}

bool ready_awaitable::await_ready() const noexcept {
    return stop_.stop_requested() || is_ready(watch_.fd, watch_.events);
}

bool ready_awaitable::await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    on_stop_.emplace(stop_, stopper{*this});
    failure_ = loop_.watch(watch_);
    return !failure_ || settle();
}

void ready_awaitable::await_resume() const {
    throw_if_stopped(stop_, name_);
    if (failure_) { throw std::system_error{failure_, "cannot wait for " + name_}; }
}

bool ready_awaitable::settle() noexcept {
    on_stop_.reset();
    return stopped_;
}

void ready_awaitable::watch::call(dmasync::work& w, dmasync::disposition d) noexcept {
    ready_awaitable& self = static_cast<watch&>(w).owner;
    if (d == dmasync::disposition::run && !self.settle()) { self.waiter_.resume(); }
}

void ready_awaitable::end::call(dmasync::work& w, dmasync::disposition d) noexcept {
    ready_awaitable& self = static_cast<end&>(w).owner;
    if (d != dmasync::disposition::run) { return; }
    if (self.watch_.active) { self.loop_.unwatch(self.watch_); }
    self.waiter_.resume();
}

void ready_awaitable::stopper::operator()() const noexcept {
    owner.stopped_ = true;
    owner.loop_.post(owner.end_);
}

} // namespace pipeline
