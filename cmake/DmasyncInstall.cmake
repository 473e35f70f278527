# SPDX-License-Identifier: MIT
# What is installed: the headers, a CMake package and a pkg-config file. Nothing in it depends on the machine.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(dmasync_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/dmasync")

# One export file for each component, so that `find_package(dmasync COMPONENTS core)` never looks for liburing.
macro(dmasync_install_component component target)
    list(APPEND dmasync_components ${component})
    install(TARGETS ${target} EXPORT dmasync-${component} FILE_SET HEADERS)
    install(EXPORT dmasync-${component} NAMESPACE dmasync:: DESTINATION "${dmasync_package_dir}")
endmacro()

dmasync_install_component(core dmasync_core)
if(DMASYNC_WITH_URING)
    dmasync_install_component(uring dmasync)
    install(FILES "${PROJECT_SOURCE_DIR}/cmake/FindLiburing.cmake" DESTINATION "${dmasync_package_dir}")

    # The prefix is found from where the file lies: the installed tree can be moved.
    file(RELATIVE_PATH dmasync_pc_prefix "/prefix/${CMAKE_INSTALL_DATADIR}/pkgconfig" "/prefix")
    string(REGEX REPLACE "/$" "" dmasync_pc_prefix "${dmasync_pc_prefix}")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/dmasync.pc.in" "${PROJECT_BINARY_DIR}/dmasync.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/dmasync.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")
endif()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/dmasync-config.cmake.in"
    "${PROJECT_BINARY_DIR}/dmasync-config.cmake"
    INSTALL_DESTINATION "${dmasync_package_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/dmasync-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/dmasync-config.cmake" "${PROJECT_BINARY_DIR}/dmasync-config-version.cmake"
    DESTINATION "${dmasync_package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
