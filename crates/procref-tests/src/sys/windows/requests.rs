//! What asks a process to end: the events of its console. Wine 8 sends no Ctrl-Break, so there it is a window that is asked to
//! close, which procref does first where there is one.

use super::is_wine;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use windows_sys::Win32::Foundation::{HWND, LPARAM, LRESULT, STATUS_CONTROL_C_EXIT, WPARAM};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::LibraryLoader::GetModuleHandleA;
use windows_sys::Win32::UI::WindowsAndMessaging::{
    CreateWindowExA, DefWindowProcA, DispatchMessageA, GetMessageA, MSG, RegisterClassA, WM_CLOSE, WNDCLASSA,
};

/// What asks a service to end.
#[derive(Debug)]
pub struct Requests(Receiver<&'static str>);

/// Where they are sent.
static SENDS: OnceLock<Mutex<Sender<&'static str>>> = OnceLock::new();

/// What comes of a request.
static ANSWER: AtomicU8 = AtomicU8::new(END);
/// The process ends, as one does that has no handler.
const END: u8 = 0;
/// Nothing, but that it is told to who listens.
const TELL: u8 = 1;

impl Requests {
    /// Listens, from now on: they end nothing by themselves any more.
    ///
    /// # Panics
    ///
    /// Somebody listens already.
    #[must_use]
    pub fn listen() -> Self {
        let (sends, receives) = mpsc::channel();
        assert!(SENDS.set(Mutex::new(sends)).is_ok(), "one listens");
        ignore_requests();
        Self(receives)
    }

    /// Waits for the next one: its name.
    #[must_use]
    pub fn next(&self) -> &'static str {
        self.0.recv().unwrap_or("?")
    }
}

/// From now on nothing that asks this process to end does anything.
#[expect(unsafe_code, reason = "the standard library has no handler of console events")]
pub fn ignore_requests() {
    ANSWER.store(TELL, Ordering::SeqCst);
    // SAFETY: the handler may be called on any thread, at any time.
    let set = unsafe { SetConsoleCtrlHandler(Some(on_event), 1) };
    assert_ne!(set, 0, "the handler can be set: {}", io::Error::last_os_error());
    hear_under_wine();
}

/// What has to be there before a test starts anything. Under Wine the first window of all starts the desktop, a process that goes
/// some time after the last one: it must not be started by a service, and be found to be left by it, or go with its job.
pub fn prepare() {
    hear_under_wine();
}

/// From now on this process ends when it is asked to, as every program does that has a console, unless it has said otherwise.
pub fn end_on_request() {
    hear_under_wine();
}

/// From now on there is a window that can be asked to close.
fn hear_under_wine() {
    static WINDOW: OnceLock<()> = OnceLock::new();
    if is_wine() {
        WINDOW.get_or_init(open_window);
    }
}

fn tell(name: &'static str) {
    if let Some(sends) = SENDS.get() {
        let _ = sends.lock().unwrap_or_else(PoisonError::into_inner).send(name);
    }
}

#[expect(unsafe_code, reason = "the system calls it")]
unsafe extern "system" fn on_event(event: u32) -> i32 {
    tell(match event {
        CTRL_BREAK_EVENT => "BREAK",
        CTRL_C_EVENT => "INT",
        CTRL_CLOSE_EVENT => "CLOSE",
        _ => "?",
    });
    1
}

/// Returns when there is one.
fn open_window() {
    let (sends, opened) = mpsc::channel();
    let run = move || {
        let _ = sends.send(make_window());
        pass_messages();
    };
    std::thread::Builder::new().name("window".into()).spawn(run).expect("there is room for a thread");
    opened.recv().expect("the thread says so").expect(
        "a window can be made, as needs under Wine: HKCU\\Software\\Wine\\Drivers, Graphics=null (scripts/test-windows sets it)",
    );
}

/// Nobody sees it. Its messages come to this thread.
#[expect(unsafe_code, reason = "the standard library has no windows")]
fn make_window() -> io::Result<()> {
    const NAME: *const u8 = c"procref-tests".as_ptr().cast();
    // SAFETY: this program itself.
    let program = unsafe { GetModuleHandleA(ptr::null()) };
    let class =
        WNDCLASSA { lpfnWndProc: Some(on_message), hInstance: program, lpszClassName: NAME, ..WNDCLASSA::default() };
    // SAFETY: the system copies what it is given.
    if unsafe { RegisterClassA(&raw const class) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let (nobody, nothing) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a class that is there, without a parent, a menu, and anything for its procedure.
    let window = unsafe { CreateWindowExA(0, NAME, NAME, 0, 0, 0, 0, 0, nobody, nothing, program, ptr::null()) };
    if window.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "the standard library has no windows")]
fn pass_messages() {
    let mut message = MSG::default();
    // SAFETY: the system writes one message.
    while unsafe { GetMessageA(&raw mut message, ptr::null_mut(), 0, 0) } > 0 {
        // SAFETY: the one that it has just written.
        unsafe { DispatchMessageA(&raw const message) };
    }
}

#[expect(unsafe_code, reason = "the system calls it")]
unsafe extern "system" fn on_message(window: HWND, message: u32, first: WPARAM, second: LPARAM) -> LRESULT {
    if message != WM_CLOSE {
        // SAFETY: what the system has given.
        return unsafe { DefWindowProcA(window, message, first, second) };
    }
    if ANSWER.load(Ordering::SeqCst) == END {
        std::process::exit(STATUS_CONTROL_C_EXIT);
    }
    tell("BREAK");
    0
}
