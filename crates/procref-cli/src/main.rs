fn main() {
    procref::guardian::init();
}
