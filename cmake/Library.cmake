# libtandem, the shared library behind include/tandem/inference.h, and what `cmake --install`
# puts where: docs/library.md.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# ---- the library ---------------------------------------------------------------------
set(export_map ${CMAKE_SOURCE_DIR}/cmake/libtandem.map)
add_library(tandem_shared SHARED $<TARGET_OBJECTS:tandem_lib>)
target_link_libraries(tandem_shared PRIVATE tandem_lib)
target_include_directories(tandem_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# Its functions are its own even where the program has some of the same name, and it stays loaded:
# threads may end after a dlclose, and libtorch cannot be unloaded anyway.
target_link_options(tandem_shared PRIVATE -Wl,--version-script,${export_map} -Wl,-Bsymbolic -Wl,-z,nodelete)
set_target_properties(tandem_shared PROPERTIES OUTPUT_NAME tandem EXPORT_NAME tandem
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${export_map})
tandem_instrument(tandem_shared)

# ---- pages of the manual, made by the program ----------------------------------------
set(man_stamp ${CMAKE_BINARY_DIR}/man/made)
add_custom_command(OUTPUT ${man_stamp} VERBATIM
  COMMAND ${CMAKE_SOURCE_DIR}/scripts/docs.sh $<TARGET_FILE:tandem> ${CMAKE_BINARY_DIR}/man man
  COMMAND ${CMAKE_COMMAND} -E touch ${man_stamp}
  DEPENDS tandem ${CMAKE_SOURCE_DIR}/scripts/docs.sh)
add_custom_target(man ALL DEPENDS ${man_stamp})

# ---- installation -------------------------------------------------------------------------
# Both find the module of libtorch from where they are themselves, so that the folder can be moved; what is
# linked by its path (libtorch, from the module) is looked for there.
set(module_dir ${CMAKE_INSTALL_LIBDIR}/tandem)
file(RELATIVE_PATH bin_to_module /${CMAKE_INSTALL_BINDIR} /${module_dir})
set_property(TARGET tandem APPEND PROPERTY INSTALL_RPATH $ORIGIN/${bin_to_module})
set_property(TARGET tandem_shared APPEND PROPERTY INSTALL_RPATH $ORIGIN/tandem)
set_target_properties(tandem tandem_shared tandem_torch PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS tandem RUNTIME)
install(TARGETS tandem_torch LIBRARY DESTINATION ${module_dir})
install(TARGETS tandem_shared EXPORT tandem LIBRARY)
install(FILES ${CMAKE_SOURCE_DIR}/include/tandem/inference.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tandem)
install(DIRECTORY ${CMAKE_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 FILES_MATCHING PATTERN "*.1")
install(FILES ${CMAKE_SOURCE_DIR}/docs/libtandem.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tandem)
install(EXPORT tandem NAMESPACE tandem:: FILE tandemConfig.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tandemConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tandemConfigVersion.cmake DESTINATION ${package_dir})

# Paths from the file itself, so that an installation can be moved.
file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_SOURCE_DIR}/cmake/tandem.pc.in ${CMAKE_BINARY_DIR}/tandem.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/tandem.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
