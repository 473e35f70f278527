// SPDX-License-Identifier: MIT
#include "kms_pipe.hpp"

#include <xf86drm.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace devices {
namespace {

template <class T, void (*Free)(T*)>
struct freed_by {
    void operator()(T* p) const noexcept { Free(p); }
};
template <class T, void (*Free)(T*)>
using owned = std::unique_ptr<T, freed_by<T, Free>>;

using resources = owned<drmModeRes, drmModeFreeResources>;
using connector = owned<drmModeConnector, drmModeFreeConnector>;
using encoder = owned<drmModeEncoder, drmModeFreeEncoder>;
using planes = owned<drmModePlaneRes, drmModeFreePlaneResources>;
using plane = owned<drmModePlane, drmModeFreePlane>;

template <class Owned>
Owned must(const drm_card& card, Owned thing, const char* call) {
    if (!thing) { card.fail(call, errno); }
    return thing;
}

template <class T>
std::span<T> list(T* first, int count) noexcept {
    return {first, static_cast<std::size_t>(count)};
}

std::optional<drmModeModeInfo> find_mode(const drmModeConnector& c, std::uint32_t width, std::uint32_t height) {
    if (c.connection != DRM_MODE_CONNECTED) { return std::nullopt; }
    const auto modes = list(c.modes, c.count_modes);
    const auto fits = [&](const drmModeModeInfo& m) {
        return m.hdisplay == width && m.vdisplay == height && (m.flags & DRM_MODE_FLAG_INTERLACE) == 0;
    };
    const auto found = std::ranges::find_if(modes, fits);
    return found == modes.end() ? std::nullopt : std::optional{*found};
}

/// Returns: bit N is set when engine number N can feed the connector.
std::uint32_t possible_crtcs(const drm_card& card, const drmModeConnector& c) {
    std::uint32_t possible = 0;
    for (const std::uint32_t id : list(c.encoders, c.count_encoders)) {
        possible |= must(card, encoder{drmModeGetEncoder(card.fd(), id)}, "drmModeGetEncoder")->possible_crtcs;
    }
    return possible;
}

/// The plane that covers the whole picture of engine number `crtc`.
std::optional<kms_object> find_primary_plane(const drm_card& card, std::size_t crtc) {
    const planes all = must(card, planes{drmModeGetPlaneResources(card.fd())}, "drmModeGetPlaneResources");
    for (const std::uint32_t id : std::span{all->planes, all->count_planes}) {
        const plane p = must(card, plane{drmModeGetPlane(card.fd(), id)}, "drmModeGetPlane");
        kms_object object{card, id, DRM_MODE_OBJECT_PLANE};
        const bool primary = object.at("type").value == DRM_PLANE_TYPE_PRIMARY;
        if (primary && (p->possible_crtcs >> crtc & 1U) != 0) { return object; }
    }
    return std::nullopt;
}

std::optional<kms_pipe> find_way(const drm_card& card, const drmModeRes& all, const drmModeConnector& c,
                                 const drmModeModeInfo& mode) {
    const std::uint32_t possible = possible_crtcs(card, c);
    const auto crtcs = list(all.crtcs, all.count_crtcs);
    for (std::size_t i = 0; i < crtcs.size(); ++i) {
        if ((possible >> i & 1U) == 0) { continue; }
        if (auto primary = find_primary_plane(card, i)) {
            return kms_pipe{.connector{card, c.connector_id, DRM_MODE_OBJECT_CONNECTOR},
                            .crtc{card, crtcs[i], DRM_MODE_OBJECT_CRTC},
                            .plane = std::move(*primary),
                            .mode = mode};
        }
    }
    return std::nullopt;
}

} // namespace

kms_pipe find_kms_pipe(const drm_card& card, std::uint32_t width, std::uint32_t height) {
    card.check(drmSetClientCap(card.fd(), DRM_CLIENT_CAP_ATOMIC, 1), "drmSetClientCap");
    const resources all = must(card, resources{drmModeGetResources(card.fd())}, "drmModeGetResources");
    for (const std::uint32_t id : list(all->connectors, all->count_connectors)) {
        const connector c = must(card, connector{drmModeGetConnector(card.fd(), id)}, "drmModeGetConnector");
        const auto mode = find_mode(*c, width, height);
        if (!mode) { continue; }
        if (auto way = find_way(card, *all, *c, *mode)) { return std::move(*way); }
    }
    card.fail("find a screen of " + std::to_string(width) + " by " + std::to_string(height) + " pixels", ENODEV);
}

} // namespace devices
