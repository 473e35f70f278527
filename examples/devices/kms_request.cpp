// SPDX-License-Identifier: MIT
#include "kms_request.hpp"

#include <xf86drmMode.h>

#include <cerrno>

namespace devices {

void kms_request::deleter::operator()(_drmModeAtomicReq* request) const noexcept { drmModeAtomicFree(request); }

kms_request::kms_request(const drm_card& card) : card_{card}, request_{drmModeAtomicAlloc()} {
    if (!request_) { card_.fail("drmModeAtomicAlloc", ENOMEM); }
}

void kms_request::set(std::uint32_t object, std::uint32_t property, std::uint64_t value) {
    card_.check(drmModeAtomicAddProperty(request_.get(), object, property, value), "drmModeAtomicAddProperty");
}

void kms_request::commit(std::uint32_t flags, void* user) {
    card_.check(drmModeAtomicCommit(card_.fd(), request_.get(), flags, user), "drmModeAtomicCommit");
}

} // namespace devices
